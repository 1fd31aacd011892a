"""A small HTTP/1.1 server that can misbehave on purpose.

An engine's faults happen below HTTP: a reset in the middle of a chunk, half a status line, a
byte at a time. Servers meant for production do not offer that, so this one parses requests with
httptools and leaves every byte of the answer to its handler.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote

import anyio
import httptools
from typing_extensions import override

_log = logging.getLogger(__name__)
_MAX_BODY_BYTES = 64 * 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}


@dataclass(slots=True)
class Request:
    """One request as it came. Header names are in lower case."""

    method: str = ""
    path: str = ""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True


class Wire:
    """Where an answer is written. `left` is set when the client has closed its side."""

    def __init__(
        self, transport: asyncio.Transport, writable: asyncio.Event, *, keep_alive: bool
    ) -> None:
        self.left = anyio.Event()
        self.is_chunked = False
        self.keep_alive = keep_alive
        self.has_head = False
        self._transport = transport
        self._writable = writable

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def head(self, status: int, headers: dict[str, str], length: int | None) -> None:
        """Status line and headers; `length` None announces a chunked body."""
        self.has_head = True
        self.is_chunked = length is None
        framing = {"transfer-encoding": "chunked"} if length is None else {}
        if length is not None:
            framing = {"content-length": str(length)}
        if not self.keep_alive:
            framing["connection"] = "close"
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in (headers | framing).items()]
        self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def piece(self, data: bytes) -> None:
        """A piece of the body."""
        self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)

    async def drain(self) -> None:
        """Wait until the client has read most of what was written."""
        await self._writable.wait()

    def end(self) -> None:
        """The body is complete."""
        if self.is_chunked:
            self.raw(b"0\r\n\r\n")
        if not self.keep_alive:
            self._transport.close()

    def close(self) -> None:
        """Close cleanly, wherever the answer is."""
        self._transport.close()

    def reset(self) -> None:
        """Close with RST: what was not read yet is lost."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()


Handler = Callable[[Request, Wire], Coroutine[object, object, None]]


class _Connection(asyncio.Protocol):
    """One client. Requests are answered one after the other."""

    def __init__(self, server: "SimulatedServer") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._request = Request()
        self._wire: Wire | None = None
        self._queue: list[Request] = []
        self._idle: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()  # of the connection: an answer may end before it is read
        self._writable.set()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self._transport)
        self._arm()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._server.connections.discard(self._transport)
        if self._wire is not None:
            self._wire.left.set()
        self._writable.set()

    @override
    def pause_writing(self) -> None:
        self._writable.clear()

    @override
    def resume_writing(self) -> None:
        self._writable.set()

    @override
    def data_received(self, data: bytes) -> None:
        self._disarm()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            self._transport.close()

    def on_message_begin(self) -> None:
        self._request = Request()

    def on_url(self, url: bytes) -> None:
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._request.method = self._parser.get_method().decode()
        path, _, self._request.query = self._request.path.partition("?")
        self._request.path = unquote(path)
        self._request.keep_alive = self._parser.should_keep_alive()
        if self._request.headers.get("expect") == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._request.body += body
        if len(self._request.body) > _MAX_BODY_BYTES:
            self._transport.abort()

    def on_message_complete(self) -> None:
        self._queue.append(self._request)
        self._next()

    def _next(self) -> None:
        if self._wire is None and self._queue:
            request = self._queue.pop(0)
            self._wire = Wire(self._transport, self._writable, keep_alive=request.keep_alive)
            self._server.serve(self._answer, request, self._wire)

    async def _answer(self, request: Request, wire: Wire) -> None:
        try:
            await self._server.handler(request, wire)
        except Exception:  # noqa: BLE001  # a bug ends one request, not the engine
            _log.exception("request_failed", extra={"path": request.path})
            if wire.has_head:
                wire.reset()
            else:
                wire.keep_alive = False
                wire.head(500, {}, 0)
                wire.end()
        finally:
            self._wire = None
            if not self._transport.is_closing():
                self._arm()
                self._next()

    def _arm(self) -> None:
        self._disarm()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._server.keep_alive_s, self._transport.close)

    def _disarm(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


class SimulatedServer:
    """A listening socket and the tasks of its requests."""

    def __init__(self, handler: Handler, tasks: asyncio.TaskGroup, *, keep_alive_s: float) -> None:
        self.handler = handler
        self.keep_alive_s = keep_alive_s
        self.connections: set[asyncio.Transport] = set()
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()

    def serve(
        self,
        answer: Handler,
        request: Request,
        wire: Wire,
    ) -> None:
        task = self._tasks.create_task(answer(request, wire))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def close(self) -> None:
        """Drop every connection and whatever is being answered."""
        for transport in list(self.connections):
            transport.abort()
        for task in self._running:
            task.cancel()

    def connection(self) -> asyncio.Protocol:
        """The protocol for a new client."""
        return _Connection(self)


@asynccontextmanager
async def listening(
    handler: Handler, host: str, port: int, *, keep_alive_s: float
) -> AsyncIterator[tuple[int, SimulatedServer]]:
    """Serve until left; gives the port."""
    loop = asyncio.get_running_loop()
    # asyncio's own group: anyio's (4.16) starts no task from a transport's callback
    async with asyncio.TaskGroup() as tasks:
        simulated = SimulatedServer(handler, tasks, keep_alive_s=keep_alive_s)
        server = await loop.create_server(simulated.connection, host, port)
        try:
            yield server.sockets[0].getsockname()[1], simulated
        finally:
            server.close()
            simulated.close()
