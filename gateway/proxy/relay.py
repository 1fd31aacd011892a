"""Engine bytes to client bytes, as they arrive.

Whole events are relayed, never parts of one, so that an error or an abort is known before the
client sees it. What comes before the first content (the role) waits for it, and the status line
with it; from then on (the commit point) an answer can no longer be started again elsewhere.

Nothing here waits: the transport pushes pieces in, and each is written on before it returns.
"""

from collections.abc import Callable

from gateway.engines.adapter import AnswerStream
from gateway.errors import GatewayError, StreamBroken
from gateway.proxy.client import Client
from gateway.proxy.dialect import Dialect
from gateway.telemetry.instruments import Distribution
from gateway.wire.http import Headers
from gateway.wire.sse import EventSplitter, EventTooLarge, is_keep_alive

HEARTBEAT = b": ping\n\n"
STREAM_HEAD: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Relay:
    """One streamed answer of one engine on its way to the client; a `BodySink`.

    `failure` says why the answer broke; it is complete when `is_over` and there is none.
    `on_over` is called once, when nothing more will be relayed. `last_piece_s` is when the engine
    last said something, keep-alive comments excepted.
    """

    def __init__(
        self,
        *,
        client: Client,
        dialect: Dialect,
        stream: AnswerStream,
        head: Headers,
        max_event_bytes: int,
        now_s: Callable[[], float],
        inter_token: Distribution,
        on_first: Callable[[], None],
        on_over: Callable[[], None],
        timing: Callable[[], Headers] | None = None,
    ) -> None:
        """`timing`: headers that are known when the answer begins."""
        self.stream = stream
        self.failure: GatewayError | None = None
        self.is_over = False
        self.has_ended = False
        self.first_content_s: float | None = None
        self.last_piece_s = now_s()
        self.last_write_s = self.last_piece_s
        self._client = client
        self._show = None if dialect.is_verbatim else event_by_event(dialect.event)
        self._head = head
        self._timing = timing
        self._is_held = True
        self._held = b""
        self._max_held_bytes = max_event_bytes
        self._split = EventSplitter(max_event_bytes).feed
        self._read = stream.event
        self._now_s = now_s
        self._inter_token = inter_token
        self._on_first = on_first
        self._on_over = on_over

    @property
    def is_committed(self) -> bool:
        """Content has reached the client."""
        return self.first_content_s is not None

    def data(self, piece: bytes) -> None:
        if self.is_over:
            return
        now_s = self._now_s()
        stream = self.stream
        counted = stream.content_events
        shown = self._shown(piece)
        if shown:
            if self._is_held:
                shown = self._released(shown)
            if shown:
                self._client.write(shown)
                self.last_write_s = now_s
        if stream.content_events != counted:
            self._count(stream.content_events - counted, now_s)
            self.last_piece_s = now_s
        elif not is_keep_alive(piece):  # an engine may go on with those when it is dead inside
            self.last_piece_s = now_s
        if stream.failure is not None:
            self._over(stream.failure)
        elif stream.is_complete:
            self._over(None)

    def _shown(self, piece: bytes) -> bytes:
        """What the client gets for the events that a piece completes."""
        shown = b""
        try:
            for event in self._split(piece):
                out = self._read(event)
                if self.stream.failure is not None:
                    break
                if out is not None and self._show is not None:
                    out = self._show(out)
                if out is not None:
                    shown = shown + out if shown else out
                if self.stream.is_complete:
                    break  # whatever an engine says after its end, the client's has come
        except EventTooLarge:
            self.stream.failure = StreamBroken("the engine sent an event that is too large")
        return shown

    def ended(self, failure: GatewayError | None) -> None:
        self.has_ended = True
        if self.is_over:
            self._on_over()
            return
        closing = self.stream.end()
        if self.stream.is_complete:
            if closing is not None and self._show is not None:
                closing = self._show(closing)
            self._write(self._held + (closing or b"") if self._is_held else closing or b"")
            self._over(None)
        elif failure is not None:
            self._over(failure)
        else:
            self._over(self.stream.failure or StreamBroken("the engine ended the answer too early"))

    def heartbeat(self) -> None:
        """Tell the client that we are still here, its status line included."""
        self._write(HEARTBEAT)

    def _released(self, shown: bytes) -> bytes:
        """Nothing until there is content or an end; then all that was held back, and the head."""
        if not shown.startswith(b":"):  # an engine's own keep-alive says nothing worth holding
            self._held += shown
        stream = self.stream
        if not stream.content_events and stream.finish_reason is None and not stream.is_complete:
            if len(self._held) > self._max_held_bytes and stream.failure is None:
                stream.failure = StreamBroken("the engine sent too much before its answer")
            return b""
        self._is_held = False
        self._start()
        return self._held

    def _start(self) -> None:
        if not self._client.has_started:
            more = () if self._timing is None else self._timing()
            self._client.start(200, (*self._head, *more))

    def _write(self, shown: bytes) -> None:
        self._start()
        if shown:
            self._client.write(shown)
            self.last_write_s = self._now_s()

    def _count(self, events: int, now_s: float) -> None:
        if self.first_content_s is None:
            self.first_content_s = now_s
            self._on_first()
            if events > 1:
                self._inter_token.observe(0.0, events - 1)
        else:
            self._inter_token.observe((now_s - self.last_piece_s) / events, events)

    def _over(self, failure: GatewayError | None) -> None:
        self.is_over = True
        self.failure = failure
        self._on_over()


def event_by_event(show: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes]:
    """`show` for what an adapter gives for one event, which may be several."""

    def shown(events: bytes) -> bytes:
        return b"".join(show(event) or b"" for event in EventSplitter(len(events)).feed(events))

    return shown
