"""A client's connection: uvicorn's, with bounds on the head and refusals in OpenAI's words.

What uvicorn leaves open is closed here. A head is bounded in size and, like the silence before
it, in time. What is not HTTP gets the same error body as everything else, and never spoils the
answer to the request before it. An offer to speak another protocol (`Upgrade: h2c`, which Java's
HTTP client sends with every first `POST`) is passed over and the request served as it stands,
where httptools alone would lose its body.
"""

import asyncio
from contextlib import suppress
from typing import Any, cast

import httptools
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from gateway.api.inference import request_id
from gateway.errors import GatewayError, HeadTooLarge, InvalidRequest, RequestTooSlow
from gateway.wire.error_body import error_body
from gateway.wire.http import Headers

_MAX_HEAD_BYTES = 64 * 1024
_LINGER_S = 2.0


class Connection(HttpToolsProtocol):
    """`read_s`: how long a head may take to arrive, and then how long its body may."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        read_s: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.read_s = read_s
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""
        self._is_in_head = False
        self.is_in_body = False
        self._is_long = False
        self.is_over = False  # nothing more is read
        self.is_last = False  # the next answer is the last
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None
        self._refused_with: GatewayError | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None

    def head(self, status: int, headers: Headers, *, keep_alive: bool) -> bytes:
        """Status line and headers, the closing blank line left out."""
        if self._default_headers is not self.server_state.default_headers:
            # a new list each second, for its date
            self._default_headers = self.server_state.default_headers
            self._default_lines = b"".join(b"%b: %b\r\n" % pair for pair in self._default_headers)
        lines = [STATUS_LINE[status], self._default_lines]
        lines += [b"%b: %b\r\n" % pair for pair in headers]
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        return b"".join(lines)

    def retire(self, idle_s: float) -> None:
        """The next answer is the last; without one, close when idle for so long."""
        self.is_last = True
        timeout = self.timeout_keep_alive_task
        if timeout is not None:
            idle_since_s = timeout.when() - self.timeout_keep_alive
            if self.loop.time() - idle_since_s >= idle_s:
                self.transport.close()

    def close_gently(self) -> None:
        """Close so that the client can still read what was written.

        A socket closed with unread bytes is reset, and a reset may overtake the answer: so only
        our half is closed, and what still comes is dropped until the client closes too.
        """
        self.is_over = True
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.flow.resume_reading()
        with suppress(OSError):  # reset already
            self.transport.write_eof()
        self._linger = self.loop.call_later(_LINGER_S, self.transport.close)

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self.wait_for_more()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()
        self._head_is_here()
        if self._linger is not None:
            self._linger.cancel()
        super().connection_lost(exc)
        running = self._running  # uvicorn tells only the last request, which may be waiting
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()

    @override
    def data_received(self, data: bytes) -> None:
        if self.is_over:
            return
        self._unset_keepalive_if_required()
        was_in_head = self._is_in_head
        self._is_long = was_in_head or len(data) > _MAX_HEAD_BYTES
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._pass_over(offer, data)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._is_in_head:
            self._wait_for_head(len(data) if was_in_head else 0)
        elif self.timeout_keep_alive_task is None and not self._is_answering():
            self.wait_for_more()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_begins()

    @override
    def on_url(self, url: bytes) -> None:
        self.url = self.url + url  # mypyc knows no augmented one here

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        # as uvicorn does it; here because it is called for every header, and compiled
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    @override
    def on_headers_complete(self) -> None:
        if self.is_head_usable():
            super().on_headers_complete()
            self.cycle.keep_alive = self.cycle.keep_alive and not self.is_last
            self.is_in_body = True

    @override
    def on_message_complete(self) -> None:
        self.is_in_body = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    @override
    def send_400_response(self, msg: str) -> None:
        """What comes is no HTTP: there can be no further request on this connection."""
        self._head_is_here()
        refusal = self._refused_with or InvalidRequest("this is not a valid HTTP request")
        self.is_over = True
        if self.is_in_body and self._is_answering():
            self.spoil(self.cycle, refusal)
        elif self._is_answering():
            self.cycle.keep_alive = False  # the request before: it is answered, then it is over
        else:
            if not self.is_in_body:  # else it was answered before its end
                self._tell(refusal)
            self.close_gently()

    def spoil(self, current: RequestResponseCycle, refusal: GatewayError) -> None:
        """The body of the current request cannot be read to its end."""
        if not current.response_started and not self.pipeline:
            current.disconnected = True  # whatever the application says now is not sent
            current.message_event.set()
            self._tell(refusal)
            self.close_gently()
        else:
            self.transport.close()

    def is_head_usable(self) -> bool:
        """Whether a request is to be made of this head. An error raised here ends the parsing."""
        self._head_is_here()
        if self._is_long:
            fields = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if len(self.url) + fields > _MAX_HEAD_BYTES:
                self._refused_with = _too_large()
                raise self._refused_with
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise InvalidRequest("this is no proxy")
            return False
        return True

    def _is_answering(self) -> bool:
        current = cast("RequestResponseCycle | None", self.cycle)
        return current is not None and not current.response_complete

    def wait_for_more(self) -> None:
        """The connection is idle: it is closed when that lasts."""
        if self.is_over or self.transport.is_closing():
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def head_begins(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0

    def _head_is_here(self) -> None:
        self._is_in_head = False
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _wait_for_head(self, more_bytes: int) -> None:
        """A head that did not come in one piece, as nearly all do, is watched."""
        self._head_bytes += more_bytes
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse_head(_too_large())
        elif self._head_deadline is None:
            slow = RequestTooSlow("the headers did not arrive in time")
            self._head_deadline = self.loop.call_later(self.read_s, self._refuse_head, slow)

    def _refuse_head(self, refusal: GatewayError) -> None:
        self._refused_with = refusal
        self.send_400_response("")

    def _pass_over(self, offer: httptools.HttpParserUpgrade, data: bytes) -> None:
        """Read the request again as one without the offer."""
        lines = [b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.lower().split(b",")]
                value = b"close" if b"close" in options else b"keep-alive"  # noqa: PLW2901  # the same header
            if name != b"upgrade":
                lines.append(b"%b: %b\r\n" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"%b\r\n%b" % (b"".join(lines), data[offer.args[0] :]))

    def _tell(self, refusal: GatewayError) -> None:
        body = error_body(refusal)
        headers = (
            (b"x-request-id", request_id(None).encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        )
        self.transport.write(self.head(refusal.status, headers, keep_alive=False) + b"\r\n" + body)


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the headers are larger than {_MAX_HEAD_BYTES // 1024} KiB")
