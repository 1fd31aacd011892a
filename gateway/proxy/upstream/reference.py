"""The upstream that is easy to read: httpx does the work. It serves nobody.

The fast one in `pool` is held to what this one does, by one contract suite. Where they may
differ: this one drops answers that are still open when it closes, and it sends a request again
also where a kept-alive connection broke inside the head, since httpx does not tell.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import httpx

from gateway.errors import (
    ConnectionLost,
    EngineFault,
    EngineOverloaded,
    EngineSilent,
    EngineUnreachable,
    GatewayError,
)
from gateway.proxy.upstream.connection import MAX_HEAD_BYTES
from gateway.proxy.upstream.protocol import BodySink
from gateway.wire.http import Origin, UpstreamRequest

_CLOSE_S = 2.0
_ENCODINGS = (b"identity", b"gzip", b"deflate")
# h11's words for a connection that ended, where all else means that it spoke no HTTP
_BROKE_OFF = ("peer closed connection", "Server disconnected")

Job = Callable[[], Coroutine[Any, Any, None]]


class HttpxUpstream:
    """An `Upstream` with one httpx client for each origin."""

    def __init__(
        self,
        *,
        max_connections_per_origin: int = 4096,
        max_idle_per_origin: int = 512,
        keepalive_expiry_s: float = 4.0,
    ) -> None:
        self._kept = httpx.Limits(
            max_connections=max_connections_per_origin,
            max_keepalive_connections=max_idle_per_origin,
            keepalive_expiry=keepalive_expiry_s,
        )
        self._single = httpx.Limits(max_keepalive_connections=0)
        self._clients: dict[tuple[Origin, bool], httpx.AsyncClient] = {}
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
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                for client in self._clients.values():
                    await client.aclose()

    async def send(
        self, origin: Origin, request: UpstreamRequest, *, connect_s: float, first_byte_s: float
    ) -> "HttpxResponse":
        sending = _Sending(connect_s, first_byte_s)
        try:
            return await self._send(origin, request, sending)
        except ConnectionLost:
            if sending.connects:
                raise
        # the engine closed it while it was idle: once more, on a connection that was never used
        fresh = _Sending(connect_s, first_byte_s)
        return await self._send(origin, request, fresh, keep=False)

    async def _send(
        self, origin: Origin, request: UpstreamRequest, sending: "_Sending", *, keep: bool = True
    ) -> "HttpxResponse":
        outgoing = _outgoing(origin, request, sending.trace)
        try:
            client = self._client(origin, keep=keep)
            with anyio.fail_after(sending.connect_s) as sending.scope:
                response = await client.send(outgoing, stream=True)
        except TimeoutError as exc:
            raise sending.overdue() from exc
        except httpx.TransportError as exc:
            raise _named(exc) from exc
        except (OSError, UnicodeError) as exc:
            raise EngineUnreachable("the engine could not be reached") from exc
        answer = HttpxResponse(response, self._start)
        if answer.is_acceptable:
            return answer
        answer.close()
        raise EngineFault("the head of the engine's answer is too large, or no answer")

    def _client(self, origin: Origin, *, keep: bool) -> httpx.AsyncClient:
        """One for each origin, so that its bounds are the origin's own."""
        client = self._clients.get((origin, keep))
        if client is None:
            trust = True if origin.ca_file is None else _trust(origin.ca_file)
            client = self._clients[origin, keep] = httpx.AsyncClient(
                verify=trust,
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(None),  # ours are deadlines of the whole, not of each step
                limits=self._kept if keep else self._single,
            )
        return client

    def _start(self, job: Job) -> None:
        """Do something that nobody waits for, for as long as this upstream is open."""
        if not self._is_closed:
            self._tasks.start_soon(job)


class HttpxResponse:
    """An `UpstreamResponse`. Its body is pulled by whoever reads, or by one task that pushes."""

    def __init__(self, response: httpx.Response, start: Callable[[Job], None]) -> None:
        self.status = response.status_code
        self._headers: dict[bytes, bytes] = {}
        for name, value in response.headers.raw:
            self._headers.setdefault(name.lower(), value)
        self._response = response
        self._start = start
        self._sink: BodySink | None = None
        self._pushing = anyio.CancelScope()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._is_closed = False

    @property
    def is_acceptable(self) -> bool:
        """The head is an answer's, and not too large."""
        raw = self._response.headers.raw
        head_bytes = sum(len(name) + len(value) + 4 for name, value in raw)
        return self.status >= 200 and head_bytes <= MAX_HEAD_BYTES

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
        if self._sink is None:
            self._start(self._drop)
        else:
            self._sink = None
            self._pushing.cancel()

    async def _push(self) -> None:
        """Hand the body to the sink, piece by piece, until it ends or nobody wants it."""
        failure: GatewayError | None = ConnectionLost("the gateway closed the connection")
        try:
            with self._pushing:
                try:
                    async with aclosing(self._pieces()) as pieces:
                        async for piece in pieces:
                            await self._flowing.wait()
                            if self._sink is not None:
                                self._sink.data(piece)
                    failure = None
                except GatewayError as exc:
                    failure = exc
        finally:
            await self._drop()
            if self._sink is not None:
                self._sink.ended(failure)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """The decoded body."""
        if self._headers.get(b"content-encoding", b"identity").lower() not in _ENCODINGS:
            raise EngineFault("the engine's answer is compressed and cannot be read")
        try:
            async for piece in self._response.aiter_bytes():
                yield piece
        except (httpx.TransportError, httpx.DecodingError) as exc:
            raise _named(exc) from exc

    async def _drop(self) -> None:
        """Give the connection back where the body was read to its end, else close it."""
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await self._response.aclose()


@dataclass(slots=True)
class _Sending:
    """How far a request has come; httpx tells through `trace`.

    One deadline at a time: to be connected, and from then on to see the answer's head.
    """

    connect_s: float
    first_byte_s: float
    scope: anyio.CancelScope | None = None
    connects: bool = False
    has_connected: bool = False

    async def trace(self, event: str, _: object) -> None:
        if event == "connection.connect_tcp.started":
            self.connects = True
        elif event == "http11.send_request_headers.started" and self.scope is not None:
            self.has_connected = True
            self.scope.deadline = anyio.current_time() + self.first_byte_s

    def overdue(self) -> GatewayError:
        if self.has_connected:
            return EngineSilent("the engine sent no answer in time")
        if self.connects:
            return EngineUnreachable("no connection to the engine in time")
        return EngineOverloaded("all connections to the engine are in use")


def _outgoing(
    origin: Origin, request: UpstreamRequest, trace: Callable[[str, object], Awaitable[None]]
) -> httpx.Request:
    target = f"{origin.base_path}{request.path}"
    if not target.isascii() or " " in target or not target.isprintable():
        raise ValueError("the path of a request must be printable ASCII without spaces")
    if any(b"\r" in value or b"\n" in value for _, value in request.headers):
        raise ValueError("a header value must not hold a line end")
    return httpx.Request(
        request.method,
        httpx.URL(scheme=origin.scheme, host=origin.host, port=origin.port, path="/"),
        headers=[
            (b"accept", b"*/*"),
            *request.headers,
            (b"content-length", b"%d" % len(request.body)),
        ],
        content=request.body,
        # the very target: httpx would quote some of what it may hold
        extensions={"trace": trace, "target": target.encode()},
    )


def _trust(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


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
