"""The upstream that serves: pooled keep-alive connections, one dictionary look-up away.

Idle connections are kept for less time than vLLM keeps them (5 s), so that a request seldom
meets one that the engine is closing; when it does, the request is sent once more on a fresh
one. Every wait has a deadline: for a free place, for the connection, for the first byte.
"""

import asyncio
import math
import ssl
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gateway.errors import (
    ConnectionLost,
    EngineOverloaded,
    EngineUnreachable,
)
from gateway.proxy.upstream.connection import Connection, Response
from gateway.wire.http import Headers, Origin, UpstreamRequest

_MAX_KNOWN_PATHS = 64


class PoolUpstream:
    """An `Upstream` over httptools and asyncio's transports."""

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
        self._trust: dict[str | None, ssl.SSLContext] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for place in self._places.values():
            while place.idle:
                place.idle.pop().abort()

    async def send(
        self,
        origin: Origin,
        request: UpstreamRequest,
        *,
        connect_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None = None,
    ) -> Response:
        place = self._places.get(origin)
        if place is None:
            place = self._places[origin] = _Place(self, origin)
            self._sweep_later(asyncio.get_running_loop(), self._expiry_s)
        message = place.message(request)
        connection = place.take_idle()
        if connection is not None:
            if connected is not None:
                connected()
            try:
                return await _head(connection, message, first_byte_s)
            except ConnectionLost:
                if connection.has_received:
                    raise
                # the engine closed it while it was idle: nothing was answered, so send it again
        connection = await place.connect(connect_s)
        if connected is not None:
            connected()
        return await _head(connection, message, first_byte_s)

    def trust(self, ca_file: str | None) -> ssl.SSLContext:
        """How certificates are checked; made once for each authority."""
        context = self._trust.get(ca_file)
        if context is None:
            context = self._trust[ca_file] = ssl.create_default_context(cafile=ca_file)
        return context

    @property
    def max_connections(self) -> int:
        return self._max_connections

    @property
    def expiry_s(self) -> float:
        return self._expiry_s

    def keep(self, place: "_Place", connection: Connection) -> None:
        """Put a free connection among the idle ones, if there is room."""
        if self._is_closed or len(place.idle) >= self._max_idle:
            connection.abort()
            return
        loop = connection.loop
        connection.idle_since_s = loop.time()
        place.idle.append(connection)
        self._sweep_later(loop, self._expiry_s)

    def _sweep_later(self, loop: asyncio.AbstractEventLoop, after_s: float) -> None:
        if self._sweep is None:
            self._sweep = loop.call_later(after_s, self._drop_expired, loop)

    def _drop_expired(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = None
        oldest_s = loop.time() - self._expiry_s
        for place in self._places.values():
            place.drop_idle_since(oldest_s)
        # engines come and go under new addresses: a place that nobody uses is forgotten
        self._places = {origin: place for origin, place in self._places.items() if place.is_used}
        if self._places:
            self._sweep_later(loop, self._expiry_s / 2)


class _Place:
    """The connections to one origin. The newest idle one is used first."""

    def __init__(self, pool: PoolUpstream, origin: Origin) -> None:
        self.idle: list[Connection] = []
        self._pool = pool
        self._origin = origin
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._prefixes: dict[tuple[str, str, Headers], bytes] = {}

    @property
    def is_used(self) -> bool:
        """Whether it has connections, or somebody waits for one."""
        return self._open > 0 or bool(self._waiting)

    def message(self, request: UpstreamRequest) -> bytes:
        """The request as bytes."""
        prefix = self._prefixes.get((request.method, request.path, request.fixed))
        if prefix is None:
            prefix = self._prefix(request)
        body = request.body
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (
            prefix,
            _lines(request.headers),
            len(body),
            body,
        )

    def take_idle(self) -> Connection | None:
        """An idle connection that is still fresh."""
        if not self.idle:
            return None
        now_s = self.idle[-1].loop.time()
        while self.idle:
            connection = self.idle.pop()
            if now_s - connection.idle_since_s < self._pool.expiry_s:
                return connection
            connection.abort()
        return None

    async def connect(self, connect_s: float) -> Connection:
        """A new connection. Raises EngineUnreachable, or EngineOverloaded when there is no room."""
        loop = asyncio.get_running_loop()
        origin = self._origin
        try:
            async with asyncio.timeout(connect_s):
                while self._open >= self._pool.max_connections:
                    await self._room(loop)
                self._open += 1
                connection = Connection(loop, self._freed, self._lost)
                try:
                    await loop.create_connection(
                        lambda: connection,
                        origin.host,
                        origin.port,
                        ssl=self._pool.trust(origin.ca_file) if origin.scheme == "https" else None,
                    )
                except BaseException:
                    connection.abort()
                    self._lost(connection)  # it may say so itself, or may never have been made
                    raise
        except TimeoutError as exc:
            if self._open >= self._pool.max_connections:
                raise EngineOverloaded("all connections to the engine are in use") from exc
            raise EngineUnreachable("no connection to the engine in time") from exc
        except ssl.SSLError as exc:
            raise EngineUnreachable("the engine's TLS certificate was not accepted") from exc
        except (OSError, UnicodeError) as exc:  # Unicode: a host that no resolver is asked for
            raise EngineUnreachable("the engine could not be reached") from exc
        return connection

    def drop_idle_since(self, oldest_s: float) -> None:
        """Close the connections that have been idle since before `oldest_s`."""
        kept: list[Connection] = []
        for connection in self.idle:
            if connection.idle_since_s > oldest_s:
                kept.append(connection)
            else:
                connection.abort()
        self.idle = kept

    async def _room(self, loop: asyncio.AbstractEventLoop) -> None:
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.cancelled():
                self._wake_next()  # the room was ours, and we do not want it any more
            raise

    def _freed(self, connection: Connection) -> None:
        if self._waiting:
            connection.abort()  # somebody waits for a place: theirs is made anew
        else:
            self._pool.keep(self, connection)

    def _lost(self, connection: Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        if connection.is_counted:
            connection.is_counted = False
            self._open -= 1
            self._wake_next()

    def _wake_next(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _prefix(self, request: UpstreamRequest) -> bytes:
        origin = self._origin
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        if origin.port != (443 if origin.scheme == "https" else 80):
            host = f"{host}:{origin.port}"
        target = f"{request.method} {origin.base_path}{request.path} HTTP/1.1"
        if not target.isascii() or target.count(" ") != 2 or not target.isprintable():
            raise ValueError("the path of a request must be printable ASCII without spaces")
        prefix = f"{target}\r\nhost: {host}\r\naccept: */*\r\n".encode() + _lines(request.fixed)
        if len(self._prefixes) < _MAX_KNOWN_PATHS:
            self._prefixes[request.method, request.path, request.fixed] = prefix
        return prefix


def _lines(headers: Headers) -> bytes:
    lines = b""
    for name, value in headers:
        if b"\r" in value or b"\n" in value:
            raise ValueError("a header value must not hold a line end")
        lines += b"%b: %b\r\n" % (name, value)
    return lines


async def _head(connection: Connection, message: bytes, first_byte_s: float) -> Response:
    """Send, and wait for status and headers; whatever else happens, the connection is dropped."""
    response = connection.begin(message)
    timer = None
    if first_byte_s != math.inf:
        timer = connection.loop.call_later(first_byte_s, connection.expire)
    try:
        await response.head
    except BaseException:
        response.close()
        raise
    finally:
        if timer is not None:
            timer.cancel()
    return response
