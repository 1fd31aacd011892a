"""Put a streamed answer together as the whole one that a client asked for. Pure.

An event is read for what it adds to the text, at little cost where it is like the one before;
all of its fields only where it is the first, has a finish reason, or has no choices (usage).
What an engine says in whole answers only, and always the same, its adapter knows (`Blank`).
"""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from gateway.engines.assembled_shapes import Blank, Part, Piece, read_logprobs, read_piece
from gateway.engines.openai_stream import Likeness
from gateway.errors import EngineFault
from gateway.wire.ask import Operation, encode_string
from gateway.wire.sse import EventSplitter, event_data

Fields = dict[str, msgspec.Raw]
T = TypeVar("T", str, bytes)

_NULL: Final = msgspec.Raw(b"null")
_ASSISTANT: Final = msgspec.Raw(b'"assistant"')
_WHOLE: Final = msgspec.Raw(b'"chat.completion"')
# what an event has that a whole answer has not, or has otherwise
_OF_CHOICE: Final = ("delta", "text", "logprobs")
_REASONING: Final = ("reasoning", "reasoning_content")

_top = msgspec.json.Decoder(Fields)
_choices = msgspec.json.Decoder(list[Fields])


class Assembled:
    """One answer of one choice. Holds at most `max_bytes` of it."""

    def __init__(self, operation: Operation, blank: Blank, max_bytes: int) -> None:
        self._is_chat = operation is Operation.CHAT
        self._blank = blank
        self._left = max_bytes
        self._why: str | None = None
        self._said: list[str] = []
        self._thought: dict[str, list[str]] = {}
        self._logprobs: list[bytes] = []
        self._likeness: Likeness | None = None
        self._top: Fields = {}
        self._choice: Fields = {}

    def add(self, events: bytes) -> None:
        """Events as the client of a stream would get them."""
        likeness = self._likeness
        if likeness is not None and likeness.shown(events) is not None:
            self._keep(self._said, likeness.text.decode(errors="replace"))
            return
        for event in EventSplitter(len(events)).feed(events):
            data = event_data(event)
            if data and data != b"[DONE]":
                self._add(event, data)

    def answer(self) -> bytes:
        """The whole. Raises EngineFault when it cannot be put together, or is too large."""
        if self._why is not None:
            raise EngineFault(self._why)
        answer = dict(self._blank.answer) | self._top
        if self._blank.usage and "usage" in answer:
            usage = dict(self._blank.usage) | _top.decode(answer["usage"])
            answer["usage"] = msgspec.Raw(msgspec.json.encode(usage))
        choice = {"index": msgspec.Raw(b"0")} | dict(self._blank.choice) | self._choice
        if self._logprobs:
            told = b'{"content":[' + b",".join(self._logprobs) + b"]}"
            choice["logprobs"] = msgspec.Raw(told)
        if self._is_chat:
            answer["object"] = _WHOLE
            choice["message"] = msgspec.Raw(msgspec.json.encode(self._message()))
        else:
            choice["text"] = encode_string("".join(self._said))
        answer["choices"] = msgspec.Raw(msgspec.json.encode([choice]))
        return msgspec.json.encode(answer)

    def _add(self, event: bytes, data: bytes) -> None:
        try:
            piece = read_piece(data)
            self._likeness = _likeness(event, piece)
            if not self._top or not piece.choices or piece.choices[0].finish_reason:
                self._merge(_top.decode(data))
            self._add_choices(piece)
        except msgspec.DecodeError:
            self._give_up("the engine's answer could not be read")

    def _add_choices(self, piece: Piece) -> None:
        if len(piece.choices) > 1:
            self._give_up("the engine gave more answers than one")
        for choice in piece.choices:
            part = choice.delta or Part(content=choice.text)
            if part.content:
                self._keep(self._said, part.content)
            for name in _REASONING:
                if thought := getattr(part, name):
                    self._keep(self._thought.setdefault(name, []), thought)
            if bytes(part.tool_calls) not in (b"", b"null", b"[]"):
                self._give_up("the engine called a tool unasked")
            if bytes(choice.logprobs) not in (b"", b"null"):
                content = bytes(read_logprobs(choice.logprobs).content)
                if content not in (b"null", b"[]"):
                    self._keep(self._logprobs, content[1:-1])

    def _merge(self, fields: Fields) -> None:
        """Fields of the answer and its choice: the last that is not null counts."""
        choices = _choices.decode(fields.pop("choices", b"[]"))
        _update(self._top, fields)
        for choice in choices:
            if "logprobs" in choice:
                self._choice.setdefault("logprobs", _NULL)
            _update(self._choice, {k: v for k, v in choice.items() if k not in _OF_CHOICE})

    def _message(self) -> Fields:
        content = encode_string("".join(self._said))
        if not self._said and self._thought and self._blank.has_null_content:
            content = _NULL
        thought = {name: encode_string("".join(parts)) for name, parts in self._thought.items()}
        return {"role": _ASSISTANT, "content": content} | dict(self._blank.message) | thought

    def _keep(self, parts: list[T], text: T) -> None:
        self._left -= len(text)
        parts.append(text)
        if self._left < 0:
            self._give_up("the engine's answer is too large")

    def _give_up(self, why: str) -> None:
        self._why = self._why or why
        self._said, self._thought, self._logprobs = [], {}, []


def _likeness(event: bytes, piece: Piece) -> Likeness | None:
    """What later events may differ from in nothing but their text; they need no parsing."""
    if len(piece.choices) != 1:
        return None
    (choice,) = piece.choices
    text = choice.text if choice.delta is None else choice.delta.content
    is_plain = bytes(choice.logprobs) in (b"", b"null") and not choice.finish_reason
    return Likeness.of(event, text, lambda same: same) if text and is_plain else None


def _update(known: Fields, told: Mapping[str, msgspec.Raw]) -> None:
    for name, value in told.items():
        if name not in known or bytes(value) != b"null":
            known[name] = value
