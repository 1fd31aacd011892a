"""A server that does to a connection exactly what a test says, and remembers what it saw.

A script is a coroutine function that plays one connection through its `Peer`. The n-th
connection gets the n-th script, and all later ones the last.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio
import trustme

from gateway.wire.http import Origin

Script = Callable[["Peer"], Awaitable[None]]

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.headers if known == name), None)


class Peer:
    """One connection, from the server's side."""

    def __init__(
        self, server: "ScriptedServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.requests: list[Received] = []
        self.is_gone = asyncio.Event()
        self._server = server
        self._reader = reader
        self._writer = writer

    async def request(self) -> Received:
        """The next request, whole."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        method, target, _ = first.decode().split(" ")
        pairs = [line.split(b": ", 1) for line in lines]
        headers = tuple((name.lower(), value) for name, value in pairs)
        length = next((int(value) for name, value in headers if name == b"content-length"), 0)
        body = await self._reader.readexactly(length)
        received = Received(method, target, headers, body)
        self.requests.append(received)
        self._server.requests.append(received)
        return received

    async def send(self, *pieces: bytes) -> None:
        """Write; returns when the other side has room for more."""
        if self._writer.transport.is_closing():  # uvloop takes it for a mistake of ours
            raise ConnectionResetError
        self._writer.write(b"".join(pieces))
        await self._writer.drain()

    async def flood(self, piece: bytes) -> int:
        """Write without end until the other side takes no more; how many bytes it took."""
        taken = 0
        while True:
            self._writer.write(piece)
            with anyio.move_on_after(0.3):
                await self._writer.drain()
                taken += len(piece)
                continue
            return taken

    def half_close(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Break the connection off, with RST instead of FIN."""
        sock = cast("socket.socket", self._writer.get_extra_info("socket"))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side closes; what it sends until then is thrown away."""
        try:
            while await self._reader.read(65536):
                pass
        except (ConnectionError, ssl.SSLError):
            pass
        self.is_gone.set()


class ScriptedServer:
    """Listens on a loopback port of its own."""

    def __init__(self, scripts: tuple[Script, ...], patience_s: float = _PATIENCE_S) -> None:
        self.peers: list[Peer] = []
        self.requests: list[Received] = []
        self.failures: list[BaseException] = []
        self.open_connections = 0
        self._scripts = scripts
        self._patience_s = patience_s
        self._playing: set[anyio.CancelScope] = set()
        self._has_closed = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many were ever made."""
        return len(self.peers)

    @property
    def targets(self) -> list[str]:
        return [request.target for request in self.requests]

    async def settled(self, open_connections: int = 0) -> None:
        """Wait until this many connections are open, no more."""
        with anyio.fail_after(2):
            while self.open_connections > open_connections:
                self._has_closed.clear()
                await self._has_closed.wait()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(self, reader, writer)
        script = self._scripts[min(len(self.peers), len(self._scripts) - 1)]
        self.peers.append(peer)
        self.open_connections += 1
        playing = anyio.move_on_after(self._patience_s)
        self._playing.add(playing)
        try:
            with playing:
                await script(peer)
                await peer.gone()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side left in the middle of the script
        except Exception as exc:  # noqa: BLE001 - a mistake in a script is shown by `serving`
            self.failures.append(exc)
        finally:
            peer.is_gone.set()
            writer.transport.abort()
            self.open_connections -= 1
            self._playing.discard(playing)
            self._has_closed.set()

    async def stop(self) -> None:
        """Break every connection off."""
        for playing in self._playing:
            playing.cancel()
        await self.settled()


@dataclass(frozen=True, slots=True)
class Served:
    """A server, and where it is."""

    server: ScriptedServer
    origin: Origin


@asynccontextmanager
async def serving(
    *scripts: Script,
    base_path: str = "",
    tls: ssl.SSLContext | None = None,
    ca_file: Path | None = None,
    listener: socket.socket | None = None,
    patience_s: float = _PATIENCE_S,
) -> AsyncIterator[Served]:
    """Play scripts until left; what a script did wrong is raised then.

    `patience_s`: how long a connection may last.
    """
    server = ScriptedServer(scripts, patience_s)
    listener = listener or socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listening = await asyncio.start_server(server.accept, sock=listener, ssl=tls, limit=2**20)
    origin = Origin(
        "http" if tls is None else "https",
        "127.0.0.1",
        port,
        base_path,
        None if ca_file is None else str(ca_file),
    )
    try:
        yield Served(server, origin)
    finally:
        listening.close()
        with anyio.move_on_after(5, shield=True):
            await server.stop()
    if server.failures:
        raise server.failures[0]


def answering(*answers: bytes) -> Script:
    """Read a request and give the first answer, another and the next one, the last for ever."""

    async def script(peer: Peer) -> None:
        number = 0
        while True:
            await peer.request()
            await peer.send(answers[min(number, len(answers) - 1)])
            number += 1

    return script


def sending(*pieces: bytes) -> Script:
    """Read a request, send this, and close as one should: with FIN."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        peer.close()

    return script


async def silent(peer: Peer) -> None:
    """Read a request and never answer."""
    await peer.request()


def whole(body: bytes = b"ok", *, head: bytes = b"", status: bytes = b"200 OK") -> bytes:
    """An answer with a content-length."""
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, head, len(body), body)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def certified(host: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for this host, and the file of the authority that vouches for it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file
