"""The upstream that is easy to read: httpx does the work. It serves nobody.

The fast one in `pool` is held to what this one does, by one contract suite. Where they may
differ: this one drops answers that are still open when it closes, and it sends a request again
also where a kept-alive connection broke inside the head, since httpx does not tell.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import httpx

from gateway.errors import (
    ConnectionLost,
    EngineFault,
    EngineOverloaded,
    EngineSilent,
    EngineUnreachable,
    GatewayError,
)
from gateway.keepalive import KEEPALIVE
from gateway.proxy.upstream.connection import MAX_HEAD_BYTES
from gateway.proxy.upstream.protocol import BodySink
from gateway.wire.http import Origin, UpstreamRequest

_CLOSE_S = 2.0
_ENCODINGS = (b"identity", b"gzip", b"deflate")
# h11's words for a connection that ended, where all else means that it spoke no HTTP
_BROKE_OFF = ("peer closed connection", "Server disconnected")

Job = Callable[[], Coroutine[Any, Any, None]]


class _Socket(Protocol):
    async def aclose(self) -> None: ...


class HttpxUpstream:
    """An `Upstream` with one httpx client for each connection.

    httpx loses connections that are cancelled in an unlucky moment; a client of its own can be
    closed whatever happened to it.
    """

    def __init__(
        self,
        *,
        max_connections_per_origin: int = 4096,
        max_idle_per_origin: int = 512,
        keepalive_expiry_s: float = 4.0,
    ) -> None:
        self._max_connections = max_connections_per_origin
        self._max_idle = max_idle_per_origin
        self._expiry_s = keepalive_expiry_s
        self._places: dict[Origin, _Place] = {}
        self._tasks = anyio.create_task_group()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)  # noqa: ASYNC102 - it is cancelled
        with anyio.move_on_after(_CLOSE_S, shield=True):
            for place in self._places.values():
                for line in list(place.lines):
                    await place.drop(line)

    async def send(
        self,
        origin: Origin,
        request: UpstreamRequest,
        *,
        connect_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None = None,
    ) -> "HttpxResponse":
        place = self._places.get(origin)
        if place is None:
            place = self._places[origin] = _Place(
                origin, self._max_connections, self._max_idle, self._expiry_s
            )
        message = _message(origin, request)
        connect_by_s = anyio.current_time() + connect_s
        line = await place.take(connect_by_s)
        try:
            return await self._answer(place, line, message, connect_by_s, first_byte_s, connected)
        except ConnectionLost:
            if line.is_fresh:
                raise
        # the engine closed it while it was idle: once more, on one that was never used
        connect_by_s = anyio.current_time() + connect_s
        line = await place.take(connect_by_s, unused=True)
        return await self._answer(place, line, message, connect_by_s, first_byte_s, connected)

    async def _answer(
        self,
        place: "_Place",
        line: "_Line",
        message: httpx.Request,
        connect_by_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None,
    ) -> "HttpxResponse":
        """The answer's head; whatever else happens, the connection is dropped."""
        try:
            response = await line.send(message, connect_by_s, first_byte_s, connected)
        except BaseException:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await place.drop(line)
            raise
        return HttpxResponse(response, place, line, self._start)

    def _start(self, job: Job) -> None:
        """Do something that nobody waits for, for as long as this upstream is open."""
        if not self._is_closed:
            self._tasks.start_soon(job)


class _Place:
    """The connections to one origin. The newest idle one is used first."""

    def __init__(
        self, origin: Origin, max_connections: int, max_idle: int, expiry_s: float
    ) -> None:
        self.lines: set[_Line] = set()
        self._idle: list[_Line] = []
        self._origin = origin
        self._room = anyio.Semaphore(max_connections)
        self._max_idle = max_idle
        self._expiry_s = expiry_s
        self._trust: ssl.SSLContext | None = None

    async def take(self, by_s: float, *, unused: bool = False) -> "_Line":
        """A connection, perhaps yet to be made. Raises EngineOverloaded when there is no room."""
        try:
            with anyio.fail_after(by_s - anyio.current_time()):
                await self._room.acquire()
        except TimeoutError as exc:
            raise EngineOverloaded("all connections to the engine are in use") from exc
        try:
            line = self._idle.pop() if self._idle and not unused else self._new()
        except OSError as exc:
            self._room.release()
            raise EngineUnreachable("the engine's authority cannot be read") from exc
        self.lines.add(line)
        return line

    def give_back(self, line: "_Line") -> bool:
        """Whether it is kept; if not, it must be dropped."""
        is_kept = line in self.lines and len(self._idle) < self._max_idle
        if is_kept:
            self._idle.append(line)
            self._room.release()
        return is_kept

    async def drop(self, line: "_Line") -> None:
        if line not in self.lines:
            return
        self.lines.remove(line)
        if line in self._idle:
            self._idle.remove(line)
        else:
            self._room.release()
        await line.close()

    def _new(self) -> "_Line":
        if self._origin.scheme == "https" and self._trust is None:
            self._trust = ssl.create_default_context(cafile=self._origin.ca_file)
        return _Line(
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(
                    verify=self._trust or False,  # False: there is nothing to verify
                    trust_env=False,
                    limits=httpx.Limits(max_connections=1, keepalive_expiry=self._expiry_s),
                    socket_options=KEEPALIVE,
                ),
                follow_redirects=False,
                timeout=httpx.Timeout(None),  # ours are deadlines of the whole, not of each step
            )
        )


class _Line:
    """One connection: an httpx client that may have no more. It connects anew where it must.

    `is_fresh`: the last request went over a connection that no other had used.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.is_fresh = False
        self._client = client
        self._socket: _Socket | None = None

    async def send(
        self,
        message: httpx.Request,
        connect_by_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None,
    ) -> httpx.Response:
        """One deadline at a time: to be connected, and from then on to see the answer's head."""
        self.is_fresh = is_sent = False

        async def follow(event: str, facts: dict[str, Any]) -> None:
            nonlocal is_sent
            match event:
                case "connection.connect_tcp.started":
                    self.is_fresh = True
                case "connection.connect_tcp.complete":
                    self._socket = facts["return_value"]
                case "http11.send_request_headers.started":
                    is_sent = True
                    if connected is not None:
                        connected()
                    scope.deadline = anyio.current_time() + first_byte_s
                case _:
                    pass

        message.extensions["trace"] = follow
        try:
            with anyio.fail_after(connect_by_s - anyio.current_time()) as scope:
                response = await self._client.send(message, stream=True)
        except TimeoutError as exc:
            if is_sent:
                raise EngineSilent("the engine sent no answer in time") from exc
            raise EngineUnreachable("no connection to the engine in time") from exc
        except httpx.TransportError as exc:
            raise _named(exc) from exc
        head_bytes = sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
        if head_bytes > MAX_HEAD_BYTES:
            raise EngineFault("the head of the engine's answer is too large")
        return response

    async def close(self) -> None:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await self._client.aclose()
            if self._socket is not None:
                # httpx forgets a socket whose TLS handshake was cancelled
                await self._socket.aclose()


class HttpxResponse:
    """An `UpstreamResponse`. Its body is pulled by whoever reads, or by one task that pushes."""

    def __init__(
        self, response: httpx.Response, place: _Place, line: _Line, start: Callable[[Job], None]
    ) -> None:
        self.status = response.status_code
        self._headers: dict[bytes, bytes] = {}
        for name, value in response.headers.raw:
            self._headers.setdefault(name.lower(), value)
        self._response = response
        self._place = place
        self._line = line
        self._start = start
        self._sink: BodySink | None = None
        self._pushing = anyio.CancelScope()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._has_ended = False
        self._is_closed = False

    def header(self, name: bytes) -> bytes | None:
        return self._headers.get(name)

    async def read(self, limit_bytes: int) -> bytes:
        body = bytearray()
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > limit_bytes:
                    raise EngineFault("the engine's answer is too large")
        return bytes(body)

    def deliver(self, sink: BodySink) -> None:
        self._sink = sink
        self._start(self._push)

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._sink = None
        self._pushing.cancel()
        if not self._has_ended or not self._place.give_back(self._line):
            self._start(self._drop)

    async def _push(self) -> None:
        """Hand the body to the sink, piece by piece, until it ends or nobody wants it."""
        failure: GatewayError | None = ConnectionLost("the gateway closed the connection")
        try:
            with self._pushing:
                async with aclosing(self._pieces()) as pieces:
                    async for piece in pieces:
                        await self._flowing.wait()
                        if self._sink is not None:
                            self._sink.data(piece)
                failure = None
        except GatewayError as exc:
            failure = exc
        finally:
            if self._sink is not None:
                self._sink.ended(failure)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """The decoded body."""
        if self._headers.get(b"content-encoding", b"identity").lower() not in _ENCODINGS:
            raise EngineFault("the engine's answer is compressed and cannot be read")
        try:
            async for piece in self._response.aiter_bytes():
                yield piece
            self._has_ended = True
        except (httpx.TransportError, httpx.DecodingError) as exc:
            raise _named(exc) from exc

    async def _drop(self) -> None:
        await self._place.drop(self._line)


def _message(origin: Origin, request: UpstreamRequest) -> httpx.Request:
    target = f"{origin.base_path}{request.path}"
    if not target.isascii() or " " in target or not target.isprintable():
        raise ValueError("the path of a request must be printable ASCII without spaces")
    given = (*request.fixed, *request.headers)
    if any(b"\r" in value or b"\n" in value for _, value in given):
        raise ValueError("a header value must not hold a line end")
    return httpx.Request(
        request.method,
        httpx.URL(scheme=origin.scheme, host=origin.host, port=origin.port, path="/"),
        headers=[
            (b"accept", b"*/*"),
            *given,
            (b"content-length", b"%d" % len(request.body)),
        ],
        content=request.body,
        # the very target: httpx would quote some of what it may hold
        extensions={"target": target.encode()},
    )


def _named(error: httpx.TransportError | httpx.DecodingError) -> GatewayError:
    """What a failure of httpx is called here."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return EngineUnreachable("the engine could not be reached")
        case httpx.RemoteProtocolError() if not str(error).startswith(_BROKE_OFF):
            return EngineFault("what the engine sent is not HTTP")
        case httpx.DecodingError():
            return EngineFault("the engine's answer is compressed and cannot be read")
        case _:
            return ConnectionLost("the connection to the engine was lost")
