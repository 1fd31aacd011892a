"""One HTTP/1.1 connection to an engine: bytes of a response to status, headers and body.

Everything happens in the transport's callbacks. What arrived together is handed on together.

Source: RFC 9112; llhttp through httptools does the parsing, strictly.
"""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, cast

import httptools
from typing_extensions import override

from gateway.errors import ConnectionLost, EngineFault, EngineSilent, GatewayError
from gateway.keepalive import KEEPALIVE
from gateway.proxy.upstream.protocol import BodySink

MAX_HEAD_BYTES = 64 * 1024
_MAX_INTERIM_ANSWERS = 20
_MAX_EARLY_BODY_BYTES = 256 * 1024
_MAX_INFLATED_BYTES = 64 * 1024 * 1024


class Response:
    """An `UpstreamResponse`; `head` is done when status and headers are here."""

    def __init__(self, connection: "Connection", loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.head: asyncio.Future[None] = loop.create_future()
        self.is_complete = False
        self.can_be_reused = False
        self._connection = connection
        self.loop = loop
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._limit_bytes = _MAX_EARLY_BODY_BYTES
        self._failure: GatewayError | None = None
        self._sink: BodySink | None = None
        self._reader: asyncio.Future[None] | None = None
        self._is_closed = False

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    async def read(self, limit_bytes: int) -> bytes:
        self._limit_bytes = limit_bytes
        self._connection.resume_reading()
        if not self.is_complete and self._failure is None and self._early_bytes <= limit_bytes:
            self._reader = self.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if self._early_bytes > limit_bytes:
            raise EngineFault("the engine's answer is too large")
        if self._failure is not None:
            raise self._failure
        return self._early[0] if len(self._early) == 1 else b"".join(self._early)

    def deliver(self, sink: BodySink) -> None:
        self._sink = sink
        early, self._early = self._early, []
        self._connection.resume_reading()
        if early:
            sink.data(b"".join(early))
        if (self.is_complete or self._failure is not None) and not self._is_closed:
            sink.ended(self._failure)

    def pause(self) -> None:
        if not self.is_complete:
            self._connection.pause_reading()

    def resume(self) -> None:
        self._connection.resume_reading()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._sink = None
        self._connection.leave(self)

    def body(self, piece: bytes) -> None:
        """Some of the body has arrived."""
        if self._is_closed:
            return
        if self._sink is not None:
            self._sink.data(piece)
            return
        self._early.append(piece)
        self._early_bytes += len(piece)
        if self._early_bytes > self._limit_bytes:
            self._connection.pause_reading()
            self._wake()

    def end(self, failure: GatewayError | None) -> None:
        """The body is complete, or broke off."""
        if self.is_complete or self._failure is not None:
            return
        self.is_complete = failure is None
        self._failure = failure
        if failure is not None and not self.head.done():
            self.head.set_exception(failure)
        elif self._sink is not None:
            self._sink.ended(failure)
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Connection(asyncio.Protocol):
    """A connection of the pool. `on_free` takes it back, `on_lost` forgets it.

    `is_counted`: the pool still counts it among those that are open.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.idle_since_s = 0.0
        self.has_received = False
        self.is_counted = True
        self.is_lost = False
        self.loop = loop
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._response: Response | None = None
        self._pieces: list[bytes] = []
        self._inflate: Callable[[bytes], bytes] | None = None
        self._head_bytes = 0
        self._fed_bytes = 0
        self._interim_answers = 0
        self._is_head_checked = False
        self._is_head_complete = False
        self._is_message_complete = False
        self._is_framed = False
        self._keeps_alive = False
        self._is_paused = False

    def begin(self, request: bytes) -> Response:
        """Send a request; its response comes to be by itself."""
        response = self._response = Response(self, self.loop)
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = self._fed_bytes = self._interim_answers = 0
        self._is_head_complete = self._is_message_complete = self._is_framed = False
        self._is_head_checked = self.has_received = False
        self._inflate = None
        if self._transport is None or self.is_lost:
            response.end(ConnectionLost("the connection to the engine was lost"))
        else:
            self._transport.write(request)
        return response

    def expire(self) -> None:
        """The head of the response did not come in time."""
        if self._is_head_checked:
            return  # it came in the same moment
        self._break(EngineSilent("the engine sent no answer in time"))

    def leave(self, response: Response) -> None:
        """The response is not wanted any more: free the connection or drop it."""
        if self._response is not response:
            return
        self._response = None
        if response.can_be_reused and not self.is_lost:
            self.resume_reading()
            self._on_free(self)
        else:
            self.abort()

    def abort(self) -> None:
        self._response = None
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if not self._is_paused and self._transport is not None and not self.is_lost:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            if not self.is_lost:
                self._transport.resume_reading()

    # the transport's callbacks

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        line: Any = transport.get_extra_info("socket")  # no socket.socket, but much like one
        if line is not None:
            for option in KEEPALIVE:
                line.setsockopt(*option)

    @override
    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None or self._parser is None or response.is_complete:
            # nobody asked: whatever this is, it must not become the answer to the next request
            self.abort_or_spoil(response)
            return
        self.has_received = True
        is_http = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            is_http = False
        if not self._is_head_checked:
            self._check_head(response, len(data))
        if self._pieces:
            self._pass_on(response)
        if self._response is not response:
            return  # nobody wants it any more, or it broke
        if self._is_message_complete:
            # whatever follows a whole answer spoils the connection, not the answer
            response.can_be_reused = is_http and self._can_be_reused()
            response.end(None)
        elif not is_http:
            self._break(EngineFault("what the engine sent is not HTTP"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._on_lost(self)
        response = self._response
        if response is None or response.is_complete:
            return
        # a body without a length ends with the connection
        if self._is_head_complete and not self._is_framed and exc is None:
            response.end(None)
        else:
            lost = ConnectionLost("the connection to the engine was lost")
            lost.__cause__ = exc
            response.end(lost)

    # the parser's callbacks

    def on_message_begin(self) -> None:
        if self._is_message_complete:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4  # colon, space and line end
        response = self._response
        if response is not None and not self._is_head_complete:
            # llhttp leaves the white space behind a value
            response.headers.setdefault(name.lower(), value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        response, parser = self._response, self._parser
        if response is None or parser is None:
            return
        status = parser.get_status_code()
        if status < 200:
            return
        response.status = status
        headers = response.headers
        self._is_head_complete = True
        self._is_framed = b"content-length" in headers or b"transfer-encoding" in headers
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            self._inflate = _inflater(encoding.lower())

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._is_head_complete:
            self._is_message_complete = True
            # llhttp forgets the message, and with it the answer, when this returns
            self._keeps_alive = self._parser is not None and self._parser.should_keep_alive()
            return
        self._interim_answers += 1
        if self._response is not None:
            self._response.headers.clear()
        if self._interim_answers > _MAX_INTERIM_ANSWERS:
            self._head_bytes = MAX_HEAD_BYTES + 1

    def _check_head(self, response: Response, fed_bytes: int) -> None:
        """Bound what a head may take, and hand it on when it is whole."""
        self._fed_bytes += fed_bytes
        if max(self._head_bytes, 0 if self._is_head_complete else self._fed_bytes) > MAX_HEAD_BYTES:
            self._break(EngineFault("the head of the engine's answer is too large"))
        elif self._is_head_complete:
            self._is_head_checked = True
            if not response.head.done():
                response.head.set_result(None)

    def abort_or_spoil(self, response: Response | None) -> None:
        """Unexpected bytes: drop an idle connection, never reuse a busy one."""
        if response is None:
            self.abort()
        else:
            response.can_be_reused = False

    def _pass_on(self, response: Response) -> None:
        pieces, self._pieces = self._pieces, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._inflate is not None:
            try:
                body = self._inflate(body)
            except (zlib.error, ValueError):
                self._break(EngineFault("the engine's answer is compressed and cannot be read"))
                return
        if body:
            response.body(body)

    def _can_be_reused(self) -> bool:
        transport = self._transport
        return (
            self._is_framed
            and self._keeps_alive
            and transport is not None
            and transport.get_write_buffer_size() == 0
        )

    def _break(self, failure: GatewayError) -> None:
        response = self._response
        self.abort()
        if response is not None:
            response.end(failure)


def _inflater(encoding: bytes) -> Callable[[bytes], bytes]:
    """Undo an encoding that nobody asked for. Raises ValueError for what we cannot, or bombs."""
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        return _refuse
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def inflate(piece: bytes) -> bytes:
        inflated = stream.decompress(piece, _MAX_INFLATED_BYTES)
        if stream.unconsumed_tail:
            raise ValueError("expands too far")
        return inflated

    return inflate


def _refuse(_: bytes) -> bytes:
    raise ValueError("an encoding that is not understood")
