import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.simulator import server as server_module
from gateway.simulator.server import Handler, Request, SimulatedServer, Wire, listening

pytestmark = pytest.mark.integration

MORE_THAN_SOCKETS_HOLD = 64_000_000
GET = b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n"


class Client:
    """A plain connection that is read with a deadline."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self.unread = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        with anyio.fail_after(5):
            while end not in self.unread:
                self.unread += await self.stream.receive()
        before, _, self.unread = self.unread.partition(end)
        return before + end

    async def endlessly(self) -> None:
        """Read until that is not possible any more."""
        while True:
            await self.stream.receive()

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        got, self.unread = self.unread, b""
        with anyio.fail_after(5):
            try:
                while True:
                    got += await self.stream.receive()
            except anyio.EndOfStream:
                return got


@asynccontextmanager
async def serving(
    handler: Handler, *, keep_alive_s: float = 5.0
) -> AsyncIterator[tuple[Client, SimulatedServer]]:
    async with (
        listening(handler, "127.0.0.1", 0, keep_alive_s=keep_alive_s) as (port, server),
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        yield Client(stream), server


async def echo(request: Request, wire: Wire) -> None:
    body = f"{request.method} {request.path}?{request.query} ".encode() + request.body
    wire.head(200, {"x-a": request.headers.get("x-a", "")}, len(body))
    wire.piece(body)
    wire.end()


async def test_a_request_is_understood_and_answered() -> None:
    async with serving(echo) as (client, _):
        await client.send(
            b"POST /a%20b?c=d HTTP/1.1\r\nhost: a\r\nX-A: value\r\ncontent-length: 3\r\n\r\nxyz"
        )
        head = await client.until(b"\r\n\r\n")
        body = await client.until(b"xyz")
    assert head == b"HTTP/1.1 200 OK\r\nx-a: value\r\ncontent-length: 17\r\n\r\n"
    assert body == b"POST /a b?c=d xyz"


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with serving(echo) as (client, _):
        await client.send(GET % b"one" + GET % b"two" + GET % b"three")
        text = await client.until(b"/three? ")
    assert text.index(b"/one") < text.index(b"/two") < text.index(b"/three")


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving(echo) as (client, _):
        for byte in GET % b"slow":
            await client.send(bytes([byte]))
        assert b"GET /slow? " in await client.until(b"? ")


async def test_a_chunked_answer_ends_with_an_empty_chunk() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.head(200, {}, None)
        wire.piece(b"hello")
        await wire.drain()
        wire.end()

    async with serving(handler) as (client, _):
        await client.send(GET % b"")
        text = await client.until(b"0\r\n\r\n")
    assert text.endswith(b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


async def test_a_client_that_wants_no_more_is_closed_on() -> None:
    async with serving(echo) as (client, _):
        await client.send(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert b"connection: close\r\n" in await client.rest()


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    async with serving(echo) as (client, _):
        await client.send(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"ok")
        assert b"POST /? ok" in await client.until(b"ok")


async def test_what_is_not_http_is_refused_and_closed() -> None:
    async with serving(echo) as (client, _):
        await client.send(b"HELLO\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with serving(echo, keep_alive_s=0.02) as (client, _):
        assert await client.rest() == b""


async def test_a_connection_is_not_idle_while_it_is_answered() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        await anyio.sleep(0.1)
        await echo(request, wire)

    async with serving(handler, keep_alive_s=0.02) as (client, _):
        await client.send(GET % b"")
        assert b"GET /?" in await client.rest()


async def test_a_reset_is_a_reset() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.raw(b"HTTP/1.1 200")
        wire.reset()
        wire.raw(b" OK")  # nobody hears it

    async with serving(handler) as (client, _):
        await client.send(GET % b"")
        with anyio.fail_after(5), pytest.raises(anyio.BrokenResourceError):
            await client.endlessly()


async def test_a_close_is_clean_wherever_the_answer_is() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.head(200, {}, 100)
        wire.piece(b"half")
        wire.close()

    async with serving(handler) as (client, _):
        await client.send(GET % b"")
        assert (await client.rest()).endswith(b"\r\n\r\nhalf")


async def test_a_handler_learns_that_its_client_has_left() -> None:
    left = anyio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        await wire.left.wait()
        left.set()

    async with serving(handler) as (client, server):
        await client.send(GET % b"")
        await client.stream.aclose()
        with anyio.fail_after(5):
            await left.wait()
        assert not server.connections


async def test_a_writer_waits_for_a_reader_that_is_slow() -> None:
    written = 0

    async def handler(request: Request, wire: Wire) -> None:
        nonlocal written
        wire.head(200, {}, None)
        for _ in range(64):
            wire.piece(b"x" * 1_000_000)
            written += 1
            await wire.drain()
        wire.end()

    async with serving(handler) as (client, _):
        await client.send(GET % b"")
        await client.until(b"\r\n\r\n")
        with anyio.fail_after(5):
            while written == 0:
                await anyio.lowlevel.checkpoint()
        assert written < 64
        with anyio.fail_after(10):
            end = b""
            while not end.endswith(b"\r\n0\r\n\r\n"):
                end = (end + await client.stream.receive())[-7:]
        assert written == 64


async def test_a_writer_that_waits_is_let_go_when_its_reader_leaves() -> None:
    done = anyio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        wire.head(200, {}, None)
        while not wire.left.is_set():
            wire.piece(b"x" * 1_000_000)
            await wire.drain()
        done.set()

    async with serving(handler) as (client, _):
        await client.send(GET % b"")
        await client.until(b"\r\n\r\n")
        await client.stream.aclose()
        with anyio.fail_after(5):
            await done.wait()


async def test_a_body_over_the_bound_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_MAX_BODY_BYTES", 10)
    async with serving(echo) as (client, _):
        await client.send(b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\n" + b"x" * 50)
        with anyio.fail_after(5), pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await client.endlessly()


@pytest.mark.parametrize("begun", [False, True])
async def test_a_bug_ends_one_request_and_is_logged(
    begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, it ended the whole server, and the test around it with a strange error."""

    async def handler(request: Request, wire: Wire) -> None:
        if request.path == "/good":
            await echo(request, wire)
            return
        if begun:
            wire.head(200, {}, 5)
        raise ZeroDivisionError

    async with serving(handler) as (client, _):
        port = client.stream.extra(anyio.abc.SocketAttribute.remote_port)
        with caplog.at_level(logging.ERROR):
            await client.send(GET % b"bad")
            if begun:
                with anyio.fail_after(5), pytest.raises(anyio.BrokenResourceError):
                    await client.endlessly()
            else:
                assert (await client.rest()).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            again = Client(stream)
            await again.send(GET % b"good")
            assert b"GET /good? " in await again.until(b"? ")
    assert [record.message for record in caplog.records] == ["request_failed"]


async def test_nothing_listens_and_no_connection_is_left_afterwards() -> None:
    async with listening(echo, "127.0.0.1", 0, keep_alive_s=5) as (port, _):
        stream = await anyio.connect_tcp("127.0.0.1", port)
    async with stream:
        with anyio.fail_after(5), pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await stream.receive()
    with socket.socket() as again, pytest.raises(ConnectionRefusedError):
        again.connect(("127.0.0.1", port))


async def test_an_answer_may_end_before_it_was_read_and_the_next_one_waits_for_its_reader() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.head(200, {}, 4_000_000)
        wire.piece(b"x" * 4_000_000)
        wire.end()

    async with serving(handler) as (client, _):
        await client.send(GET % b"one" + GET % b"two")
        received = 0
        with anyio.fail_after(10):
            while received < 8_000_000:
                received += len(await client.stream.receive())


async def test_a_slow_reader_of_the_last_answer_slows_the_next_one_down() -> None:
    """Before, an answer took a connection that nobody read for one that could be written to."""
    begun, drained = anyio.Event(), anyio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        if request.path == "/one":
            wire.head(200, {}, MORE_THAN_SOCKETS_HOLD)
            wire.piece(b"x" * MORE_THAN_SOCKETS_HOLD)
        else:
            begun.set()
            await wire.drain()
            drained.set()
            wire.head(200, {}, 0)
        wire.end()

    async with serving(handler) as (client, _):
        await client.send(GET % b"one" + GET % b"two")
        with anyio.fail_after(10):
            await begun.wait()
            assert not drained.is_set()
            while not drained.is_set():
                await client.stream.receive()
