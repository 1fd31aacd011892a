"""Addresses of engines that cannot be reached, each for a reason of its own."""

import datetime
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import trustme

from tests.support.ports import free_port
from tests.support.scripted_server import certified, serving, silent

Address = tuple[str, str | None]


@asynccontextmanager
async def nobody_listens() -> AsyncIterator[Address]:
    yield f"http://127.0.0.1:{free_port()}", None


@asynccontextmanager
async def nobody_takes_connections() -> AsyncIterator[Address]:
    """A listener whose queue is full, so that nobody's handshake is answered."""
    async with AsyncExitStack() as stack:
        listener = socket.socket()
        stack.callback(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):
            waiting = socket.socket()
            stack.callback(waiting.close)
            waiting.setblocking(False)
            waiting.connect_ex(address)
        await anyio.sleep(0.05)
        yield f"http://127.0.0.1:{address[1]}", None


@asynccontextmanager
async def a_host_without_address() -> AsyncIterator[Address]:
    yield "http://engine.invalid:8000", None


@asynccontextmanager
async def an_unknown_authority() -> AsyncIterator[Address]:
    async with _tls("127.0.0.1") as (port, _):
        yield f"https://127.0.0.1:{port}", None


@asynccontextmanager
async def the_wrong_host() -> AsyncIterator[Address]:
    async with _tls("other.example") as (port, ca_file):
        yield f"https://127.0.0.1:{port}", ca_file


@asynccontextmanager
async def an_expired_certificate() -> AsyncIterator[Address]:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=past).configure_cert(context)
    with tempfile.TemporaryDirectory() as folder:
        ca_file = str(Path(folder) / "ca.pem")
        authority.cert_pem.write_to_path(ca_file)
        async with serving(silent, tls=context) as served:
            yield f"https://127.0.0.1:{served.origin.port}", ca_file


@asynccontextmanager
async def a_plain_port_where_tls_is_due() -> AsyncIterator[Address]:
    async with serving(silent) as served:
        yield f"https://127.0.0.1:{served.origin.port}", None


@asynccontextmanager
async def _tls(host: str) -> AsyncIterator[tuple[int, str]]:
    with tempfile.TemporaryDirectory() as folder:
        context, ca_file = certified(host, Path(folder))
        async with serving(silent, tls=context) as served:
            yield served.origin.port, str(ca_file)
