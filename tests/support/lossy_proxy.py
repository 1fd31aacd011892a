"""A TCP proxy that cuts, delays and swallows: outcomes that nobody can know from outside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

import anyio
from anyio.abc import ByteStream, SocketListener

_PIECE = 65536


class Replies(StrEnum):
    """What becomes of what the server says."""

    PASS = "pass"
    CUT = "cut"  # the connection is closed instead
    SWALLOW = "swallow"


class LossyProxy:
    """In front of one server. What has been told to it is done to connections as they are."""

    def __init__(self, target_port: int, listener: SocketListener) -> None:
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        self.replies = Replies.PASS
        self.delay_s = 0.0
        self.passed = bytearray()
        self.lost = 0
        self.connections = 0
        self._target_port = target_port
        self._listener = listener
        self._cut_after: int | None = None
        self._open: set[ByteStream] = set()
        self._may_pass = anyio.Event()
        self._may_pass.set()

    def hold_requests(self) -> anyio.Event:
        """Keep what clients say from now on until the event is set, even when they are gone."""
        self._may_pass = anyio.Event()
        return self._may_pass

    def pass_new_requests(self) -> None:
        """What is kept stays where it is."""
        self._may_pass = anyio.Event()
        self._may_pass.set()

    def cut_after(self, size_bytes: int) -> None:
        """Let so much of the next stream of events pass, then close its connection; once."""
        self.passed.clear()
        self._cut_after = size_bytes

    async def cut(self) -> None:
        """Close every connection that there is."""
        for stream in list(self._open):
            await anyio.aclose_forcefully(stream)

    async def fall_silent(self) -> None:
        """As an engine that shuts down with its streams open: nobody else comes in any more."""
        self.replies = Replies.SWALLOW
        await self._listener.aclose()

    async def serve(self) -> None:
        async with anyio.create_task_group() as connections:
            with suppress(anyio.ClosedResourceError):
                while True:
                    connections.start_soon(self._serve, await self._listener.accept())

    async def _serve(self, client: ByteStream) -> None:
        self.connections += 1
        try:
            server = await anyio.connect_tcp("127.0.0.1", self._target_port)
        except OSError:
            await anyio.aclose_forcefully(client)
            return
        async with server, client:
            self._open |= {client, server}
            try:
                async with anyio.create_task_group() as both:
                    both.start_soon(self._bring_replies, server, client)
                    await self._bring_requests(client, server)
                    both.cancel_scope.cancel()
            finally:
                self._open -= {client, server}

    async def _bring_requests(self, client: ByteStream, server: ByteStream) -> None:
        while True:
            try:
                piece = await client.receive(_PIECE)
            except _ENDS:
                return
            await self._may_pass.wait()
            await anyio.sleep(self.delay_s)
            try:
                await server.send(piece)
            except _ENDS:
                return

    async def _bring_replies(self, server: ByteStream, client: ByteStream) -> None:
        is_stream = False
        while True:
            try:
                piece = await server.receive(_PIECE)
                is_stream = is_stream or b"text/event-stream" in piece
                if self.replies is Replies.PASS:
                    await client.send(self._passing(piece) if is_stream else piece)
                    if self._cut_after != 0:
                        continue
                    self._cut_after = None
                    await client.aclose()
                    return
            except _ENDS:
                await anyio.aclose_forcefully(client)
                return
            self.lost += 1
            if self.replies is Replies.CUT:
                await anyio.aclose_forcefully(client)
                return

    def _passing(self, piece: bytes) -> bytes:
        if self._cut_after is not None:
            piece = piece[: self._cut_after]
            self._cut_after -= len(piece)
        self.passed += piece
        return piece


_ENDS = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)


@asynccontextmanager
async def a_lossy_proxy(target_port: int) -> AsyncIterator[LossyProxy]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listeners:
        (listener,) = listeners.listeners
        assert isinstance(listener, SocketListener)
        proxy = LossyProxy(target_port, listener)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(proxy.serve)
            yield proxy
            tasks.cancel_scope.cancel()
