"""What is kept of a streamed answer, so that another replica can go on with it. Pure.

Every chunk costs the same small amount of work, and what is kept is bounded: past the bound
everything is let go and the answer cannot be resumed any more.

Token ids continue an answer exactly, but only from a place where the text that the client has
seen is the text of the ids: an engine that has produced half a character, or the beginning of
a stop string, has ids of which nothing was shown. The places are remembered as they pass; where
the last of them lies before the end of the text, the next engine says the rest once more, and
it is dropped (`dropped_bytes`) as long as it is the same.
"""

from collections import deque
from enum import StrEnum
from typing import Final

MAX_KEPT_BYTES: Final = 1024 * 1024
_REPLACEMENT: Final = "�".encode()


class Why(StrEnum):
    """Why an answer cannot be resumed; a label of metrics, a field of the log."""

    OFF = "off"
    ENGINE = "engine"
    OPERATION = "operation"
    CHOICES = "choices"
    STRUCTURED = "structured_output"
    PARAMETER = "parameter"
    TOOLS = "tools"
    REASONING = "reasoning"
    TOO_LONG = "too_long"
    UNREADABLE = "unreadable"
    NO_CONTENT = "no_content"
    NO_WAY = "no_way"
    NO_REPLICA = "no_replica"
    FAILURE = "failure"
    SPENT = "spent"


class Place:
    """A token after which the text is whole: how many ids (and bytes of them) lead to it.

    `end` is where its text ends, in characters from the beginning of the answer.
    """

    __slots__ = ("end", "ids_bytes", "tokens")

    def __init__(self, end: int, ids_bytes: int, tokens: int) -> None:
        self.end = end
        self.ids_bytes = ids_bytes
        self.tokens = tokens


class Kept:
    """One answer so far. `why`: it cannot be resumed any more, and nothing is kept.

    `hold`: how many characters the engine holds back while a stop string may be in them.
    `with_ids`: token ids were asked for; `hides_ids`: and the client did not want them.
    `events`: those with content; some engines send one a token, even where its text is empty.
    `prompt` and `ids` are JSON arrays without their brackets: they are only ever sent on.
    """

    __slots__ = (
        "_asked",
        "_end",
        "_expected",
        "_is_strict",
        "_places",
        "diverged",
        "dropped_bytes",
        "end",
        "events",
        "first",
        "has_reasoning",
        "hides_ids",
        "hold",
        "ids",
        "is_exact",
        "prompt",
        "text",
        "tokens",
        "why",
        "with_ids",
    )

    def __init__(self, *, with_ids: bool = False, hides_ids: bool = False, hold: int = 0) -> None:
        self.with_ids = with_ids
        self.hides_ids = hides_ids
        self.hold = hold
        self.why: Why | None = None
        self.first: bytes | None = None
        self.text = bytearray()
        self.end = 0
        self.events = 0
        self.has_reasoning = False
        self.prompt: bytes | None = None
        self.ids = bytearray()
        self.tokens = 0
        self.is_exact = True
        self.diverged = False
        self.dropped_bytes = 0
        self._places = deque([Place(0, 0, 0)])
        self._end = 0  # as this engine counts: before `end` while it says again what was said
        self._expected = b""
        self._is_strict = True
        self._asked: bytes | None = None

    @property
    def place(self) -> Place:
        """The last one whose text the client has seen whole."""
        places = self._places
        while len(places) > 1 and places[1].end <= self.end:
            places.popleft()
        return places[0]

    @property
    def is_at_place(self) -> bool:
        """Whether the ids up to `place` say exactly what the client has seen."""
        return self.is_exact and self.place.end == self.end

    @property
    def prompt_tokens(self) -> int | None:
        """None: the engine did not tell the ids."""
        return None if self.prompt is None else self.prompt.count(b",") + 1

    def begin(self, event: bytes) -> None:
        """The first event, as the client gets to see it."""
        if self.first is None:
            self.first = event

    def read_prompt(self, prompt: bytes) -> None:
        """The ids of the prompt, as this engine read it."""
        told = prompt.strip(b"[]").replace(b" ", b"")
        if self._asked is not None:
            self.diverged |= told != self._asked
            self._asked = None
        elif self.prompt is None and self.why is None:
            self.prompt = told
            if len(told) > MAX_KEPT_BYTES:
                self.give_up(Why.TOO_LONG)

    def add(self, text: bytes, ids: bytes) -> None:
        """An event with this text of the answer, or none, and with these ids, or none."""
        if self._asked is not None:
            # it read a prompt of its own, and answers from the beginning
            self.diverged = True
        if self.why is not None or self.diverged:
            return
        self.events += 1
        if text:
            size = _characters(text)
            if size is None:
                self.give_up(Why.UNREADABLE)
                return
            unsaid = self._unsaid(text) if self._expected else text
            if unsaid is None:
                self.diverged = True
                return
            self._end += size
            if self._end > self.end:
                self.end = self._end
            self.text += unsaid
        if ids:
            self._add_ids(text, ids)
        self._bound()

    def add_reasoning(self, text: bytes, ids: bytes) -> None:
        """An event with text that is no part of the answer."""
        self.has_reasoning = True
        if self.why is not None or self.diverged:
            return
        if ids:
            self._add_ids(text, ids)
        self._bound()

    def give_up(self, why: Why) -> None:
        """Let go of everything."""
        if self.why is None:
            self.why = why
            self.prompt = None
            self.text = bytearray()
            self.ids = bytearray()

    def go_on_from_ids(self) -> bytes:
        """All ids up to `place`: the next engine's prompt. Whatever came after is forgotten."""
        place = self.place
        del self.ids[place.ids_bytes :]
        self.tokens = place.tokens
        self._places = deque([place])
        self._asked = (self.prompt or b"") + b"".join((b",", self.ids)).rstrip(b",")
        self._expect(self.said_after(place), is_strict=True)
        self._end = place.end
        return self._asked

    def go_on_from_text(self, repeated: int, *, is_strict: bool) -> bytes:
        """The text but for its last bytes: the next engine repeats those. Ids are done with."""
        said = bytes(self.text)
        end = len(said) - repeated
        self.with_ids = False
        self._asked = None
        self._expect(said[end:], is_strict=is_strict)
        self._end = self.end - len(said[end:].decode())
        return said[:end]

    def said_after(self, place: Place) -> bytes:
        """The text that the client has seen beyond a place."""
        missing = self.end - place.end
        return self.text.decode()[-missing:].encode() if missing > 0 else b""

    def _add_ids(self, text: bytes, ids: bytes) -> None:
        self.ids += ids
        self.ids += b","
        many = ids.count(b",")
        self.tokens += many + 1
        if not text:
            return
        # of several tokens the last may be half a character: nobody can tell
        self.is_exact = not many and not text.endswith(_REPLACEMENT)
        if self.is_exact:
            places = self._places
            if not self.hold:
                place = places[0]
                place.end, place.ids_bytes, place.tokens = self._end, len(self.ids), self.tokens
                return
            places.append(Place(self._end + self.hold, len(self.ids), self.tokens))
            while len(places) > 1 and places[1].end <= self.end:
                places.popleft()

    def _unsaid(self, text: bytes) -> bytes | None:
        """What is new in a text that repeats what was said; None: it says something else."""
        expected = self._expected
        size = 0
        for said, again in zip(expected, text, strict=False):
            if said != again:
                if self._is_strict:
                    return None
                expected = b""
                break
            size += 1
        self._expected = expected[size:]
        self.dropped_bytes = size
        return text[size:]

    def _expect(self, text: bytes, *, is_strict: bool) -> None:
        self._expected, self._is_strict = text, is_strict
        self.diverged = False

    def _bound(self) -> None:
        if len(self.text) + len(self.ids) > MAX_KEPT_BYTES:
            self.give_up(Why.TOO_LONG)


def _characters(text: bytes) -> int | None:
    """None: an engine has sent what is no text. It is passed on, but nobody can go on with it."""
    if text.isascii():
        return len(text)
    try:
        return len(text.decode())
    except UnicodeDecodeError:
        return None
