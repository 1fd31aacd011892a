"""The inference endpoints without ASGI: uvicorn's own connection, our own answer.

ASGI costs a dictionary, two coroutines and an event for every message. For `POST` to an
inference path this protocol hands the request straight to the exchange and writes the answer
straight to the transport; everything else goes the ordinary way. Keep-alive, pipelining and
shutdown stay uvicorn's. Both ways pass the same tests.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from gateway.api.connection import Connection
from gateway.api.endpoint import Endpoint
from gateway.api.inference import Head, Inference, read_head
from gateway.clock import Clock
from gateway.errors import GatewayError, RequestTooSlow
from gateway.proxy.exchange import tell
from gateway.wire.http import Headers

# how much of a refused body is read and dropped, so that the connection can be used again
_MAX_DISCARDED_BYTES = 128 * 1024 * 1024
# what may wait behind a running request: while nothing is read, nobody sees that a client left
_MAX_WAITING = 100
_MAX_WAITING_BYTES = 256 * 1024


class DirectAnswer:
    """One request and its answer on a connection.

    A `Client` for the exchange, and a cycle for uvicorn, which reads and sets the attributes
    `body`, `more_body`, `disconnected`, `response_complete`, `keep_alive`, `message_event`.
    """

    def __init__(
        self, connection: "DirectProtocol", endpoint: Endpoint, head: Head, *, keep_alive: bool
    ) -> None:
        self.body = bytearray()
        self.more_body = True
        self.response_complete = False
        self.keep_alive = keep_alive
        self.message_event = _NoEvent()
        self.endpoint = endpoint
        self.head = head
        self.refusal: GatewayError | None = None
        self.waits_for: DirectAnswer | RequestResponseCycle | None = None
        self.has_started = False
        self.is_gone = False
        self.blocked_since_s: float | None = None
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._transport = connection.transport
        self._is_chunked = connection.parser.get_http_version() != "1.0"
        self._unsent = b""
        self._pause: Callable[[], None] = _nothing
        self._resume: Callable[[], None] = _nothing

    @property
    def is_finished(self) -> bool:
        return self.response_complete

    @property
    def disconnected(self) -> bool:
        return self.is_gone

    @disconnected.setter
    def disconnected(self, value: bool) -> None:
        self.is_gone = value

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        if self.is_gone:
            return
        self.has_started = True
        head = self._connection.head(status, headers, keep_alive=self.keep_alive)
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        self._complete()

    def start(self, status: int, headers: Headers) -> None:
        self.has_started = True
        self.keep_alive = self.keep_alive and self._is_chunked
        head = self._connection.head(status, headers, keep_alive=self.keep_alive)
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._is_chunked else b"\r\n"
        self._unsent = head + framing

    def write(self, piece: bytes) -> None:
        if self.is_gone:
            return
        if self._is_chunked:
            piece = b"%b%x\r\n%b\r\n" % (self._unsent, len(piece), piece)
        else:
            piece = self._unsent + piece
        self._unsent = b""
        self._transport.write(piece)

    def finish(self) -> None:
        if self.is_gone:
            return
        self._transport.write(self._unsent + (b"0\r\n\r\n" if self._is_chunked else b""))
        self._complete()

    def abort(self) -> None:
        self.is_gone = True
        self._transport.abort()

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause, self._resume = pause, resume
        if self.blocked_since_s is not None:
            pause()

    def blocked(self, now_s: float) -> None:
        """The client does not read what is ready for it."""
        self.blocked_since_s = now_s
        self._pause()

    def unblocked(self) -> None:
        self.blocked_since_s = None
        self._resume()

    def gone(self) -> None:
        """The connection is lost: whoever works on the answer stops at once."""
        self.is_gone = True
        if self.task is not None:
            self.task.cancel()

    def _complete(self) -> None:
        self.response_complete = True
        if self.keep_alive:
            self._connection.on_response_complete()
        else:
            self._connection.close_after(self)


class DirectProtocol(Connection):
    """uvicorn's HTTP connection with a short way for inference."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        inference: Inference,
        clock: Clock,
        read_s: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, read_s=read_s)
        self._inference = inference
        self._clock = clock
        self._answers: list[DirectAnswer] = []
        self._body_deadline: asyncio.TimerHandle | None = None
        self._discarded_bytes = 0
        self._is_unread = False

    def close_after(self, answer: DirectAnswer) -> None:
        """The answer was the last on this connection."""
        if answer.more_body or self.is_over:
            self.close_gently()
        else:
            self.transport.close()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_in_body and self._body_deadline is None:
            # nearly all bodies come with their head, and need no deadline
            answer = cast("DirectAnswer | RequestResponseCycle", self.cycle)
            if isinstance(answer, DirectAnswer):
                self._body_deadline = self.loop.call_later(self.read_s, self._too_slow, answer)

    @override
    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.head_begins()

    @override
    def on_headers_complete(self) -> None:
        if not self.is_head_usable():
            return
        endpoint = None
        if self.parser.get_method() == b"POST":
            endpoint = self._inference.endpoints.at(self.url.decode("latin-1"))
        if endpoint is None:
            self._go_the_ordinary_way()
            return
        head = read_head(self.headers)
        version = self.parser.get_http_version()
        answer = DirectAnswer(
            self,
            endpoint,
            head,
            keep_alive=(version != "1.0" and self.parser.should_keep_alive() and not self.is_last),
        )
        before: DirectAnswer | RequestResponseCycle | None = self.cycle
        if before is not None and not before.response_complete:
            answer.waits_for = before
        self.cycle = cast("RequestResponseCycle", answer)
        self._answers.append(answer)
        self.is_in_body = True
        self._discarded_bytes = 0
        refusal = self._inference.refusal(head)
        if refusal is not None:
            if head.expects_continue:
                answer.keep_alive = False  # the body will not come, and must not be waited for
            self._refuse(answer, refusal)
        elif head.expects_continue and answer.waits_for is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    @override
    def on_body(self, body: bytes) -> None:
        answer = cast("DirectAnswer | RequestResponseCycle", self.cycle)
        if not isinstance(answer, DirectAnswer):
            super().on_body(body)
        elif answer.refusal is not None:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > _MAX_DISCARDED_BYTES:
                self.transport.close()
        else:
            answer.body += body
            if len(answer.body) > self._inference.max_body_bytes:
                self._refuse(answer, self._inference.too_large())

    @override
    def on_message_complete(self) -> None:
        answer = cast("DirectAnswer | RequestResponseCycle | None", self.cycle)
        if not isinstance(answer, DirectAnswer) or not answer.more_body:
            super().on_message_complete()
            return
        self._forget_body_deadline()
        self.is_in_body = answer.more_body = False
        if answer.refusal is None:
            self._start_in_turn(answer)

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        ours = cast("DirectAnswer | RequestResponseCycle", cycle)
        if not isinstance(ours, DirectAnswer):
            super()._start_asgi_task(cycle, app)
        elif ours.refusal is None:
            self._start(ours)
        else:
            # told at once it would bring on the next, and that the next: a deep stack
            self.loop.call_soon(self._start, ours)

    @override
    def on_response_complete(self) -> None:
        if self._answers and self._answers[0].response_complete:
            del self._answers[0]
        if self.flow.write_paused and not self.transport.is_closing():
            # who does not read gets no further answer: they would pile up here
            self._is_unread = True
            self.flow.pause_reading()
            self._unset_keepalive_if_required()
            self._wait_for_reader()
        elif self.pipeline or self.flow.read_paused:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.wait_for_more()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_body_deadline()
        self._is_unread = False
        super().connection_lost(exc)
        for answer in self._answers:
            answer.gone()
        self._answers.clear()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        for answer in self._answers[:1]:
            answer.blocked(self._clock.now_s())

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        for answer in self._answers[:1]:
            answer.unblocked()
        if self._is_unread:
            self._is_unread = False
            super().on_response_complete()

    @override
    def spoil(self, current: RequestResponseCycle, refusal: GatewayError) -> None:
        answer = cast("DirectAnswer | RequestResponseCycle", current)
        if isinstance(answer, DirectAnswer):
            answer.keep_alive = False
            self._refuse(answer, refusal)
        else:
            super().spoil(current, refusal)

    def _go_the_ordinary_way(self) -> None:
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()

    def _wait_for_reader(self) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self._has_read, unread_bytes
        )

    def _has_read(self, unread_bytes: int) -> None:
        """However slow, a client that reads may go on; one that has read nothing may not."""
        if self.transport.get_write_buffer_size() < unread_bytes:
            self._wait_for_reader()
        else:
            self.transport.abort()

    def _start_in_turn(self, answer: DirectAnswer) -> None:
        before = answer.waits_for
        if (before is None or before.response_complete) and not self._is_unread:
            self._start(answer)
        else:
            self.pipeline.appendleft((self.cycle, self.app))
            waiting_bytes = sum(len(one.body) for one in self._answers)
            if len(self.pipeline) > _MAX_WAITING or waiting_bytes > _MAX_WAITING_BYTES:
                self.flow.pause_reading()

    def _start(self, answer: DirectAnswer) -> None:
        call = self._inference.call(answer.endpoint, answer.head, bytes(answer.body))
        answer.body.clear()
        answer.waits_for = None
        if answer.refusal is not None:
            tell(answer, call, answer.refusal)
            return
        answer.task = self.loop.create_task(self._inference.exchange.run(call, answer))
        self.tasks.add(answer.task)
        # not in a coroutine around it: one that is cancelled before it began never runs
        answer.task.add_done_callback(self.tasks.discard)

    def _refuse(self, answer: DirectAnswer, refusal: GatewayError) -> None:
        """Answer without the body, which may still be arriving."""
        answer.refusal = refusal
        answer.body.clear()
        self._start_in_turn(answer)

    def _too_slow(self, answer: DirectAnswer) -> None:
        answer.keep_alive = False
        if answer.refusal is None:
            self._refuse(answer, RequestTooSlow("the body did not arrive in time"))
        elif answer.response_complete:
            self.close_gently()

    def _forget_body_deadline(self) -> None:
        if self._body_deadline is not None:
            self._body_deadline.cancel()
            self._body_deadline = None


class _NoEvent:
    """Stands where uvicorn keeps an event; nobody waits for ours."""

    def set(self) -> None:
        pass


def _nothing() -> None:
    pass
