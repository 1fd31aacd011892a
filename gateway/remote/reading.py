"""Read one streamed answer: when each piece of content came, and what it all amounts to. No I/O.

Times are those of the bytes' arrival. An event counts as content when it brings text, reasoning
or a tool call; the chunk with the role does not. Events that arrived together have one time.
"""

from array import array

import msgspec

from gateway.remote.chunks import Choice, Chunk, read_chunk
from gateway.remote.failure import Failure, cut_short, error_event, unreadable
from gateway.wire.sse import EventSplitter, EventTooLarge, event_data
from gateway.wire.usage import Usage, read_usage

MAX_EVENT_BYTES = 4 * 1024 * 1024
_NOTHING = (b"", b"null", b"[]")


class Reading:
    """One answer while it arrives. `times_s` has one entry for each event with content.

    `last_s`: when the last bytes of any kind came.
    """

    def __init__(self) -> None:
        self.times_s = array("d")
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.failure: Failure | None = None
        self.logprobs: list[msgspec.Raw] = []
        self.last_s: float | None = None
        self._text: list[str] = []
        self._splitter = EventSplitter(MAX_EVENT_BYTES)
        self._is_done = False

    @property
    def text(self) -> str:
        """The content; reasoning is not part of it."""
        return "".join(self._text)

    def feed(self, piece: bytes, at_s: float) -> None:
        """Some bytes have arrived."""
        self.last_s = at_s
        if self.failure is not None:
            return
        try:
            events = self._splitter.feed(piece)
        except EventTooLarge:
            self.failure = unreadable(f"an event is over {MAX_EVENT_BYTES} bytes")
            return
        for event in events:
            self._event(event, at_s)

    def end(self) -> None:
        """The body is over: `failure` is final now."""
        is_whole = self.finish_reason is not None or (self._is_done and self.usage is not None)
        if self.failure is None and not is_whole:
            self.failure = cut_short()

    def _event(self, event: bytes, at_s: float) -> None:
        data = event[6:] if event.startswith(b"data: {") else event_data(event)
        if not data or self.failure is not None:
            return
        if data == b"[DONE]":
            self._is_done = True
            return
        try:
            chunk = read_chunk(data)
        except msgspec.DecodeError:
            self.failure = unreadable(f"an event is no chunk: {data[:80].decode(errors='replace')}")
            return
        if bytes(chunk.error) not in _NOTHING:
            self.failure = error_event(bytes(chunk.error))
            return
        self._chunk(chunk, at_s)

    def _chunk(self, chunk: Chunk, at_s: float) -> None:
        if bytes(chunk.usage) not in _NOTHING:
            self.usage = read_usage(chunk.usage) or self.usage
        for choice in chunk.choices:
            if self._choice(choice):
                self.times_s.append(at_s)

    def _choice(self, choice: Choice) -> bool:
        """Whether it brought content."""
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
            if choice.finish_reason == "abort":
                self.failure = Failure("aborted", "the engine gave up within the answer", 200)
        if bytes(choice.logprobs) not in _NOTHING:
            self.logprobs.append(choice.logprobs)
        delta = choice.delta
        if delta is None:
            self._text.append(choice.text or "")
            return bool(choice.text)
        self._text.append(delta.content or "")
        return bool(
            delta.content
            or delta.reasoning
            or delta.reasoning_content
            or bytes(delta.tool_calls) not in _NOTHING
        )
