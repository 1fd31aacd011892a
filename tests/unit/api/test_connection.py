from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.api.connection import Connection
from tests.support.fake_transport import FakeTransport
from tests.support.running import until

HELLO = b"GET / HTTP/1.1\r\n\r\n"


class App:
    """Says hello, once it may."""

    def __init__(self) -> None:
        self.may_answer = anyio.Event()
        self.requests: list[str] = []
        self.left: list[str] = []
        self.starts_early = False
        self.reads = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(scope["path"])
        if self.starts_early:
            await self._start(send)
        while self.reads and (message := await receive())["type"] == "http.request":
            if not message["more_body"]:
                break
        else:
            if self.reads:
                self.left.append(scope["path"])
                return
        await self.may_answer.wait()
        if not self.starts_early:
            await self._start(send)
        await send({"type": "http.response.body", "body": b"hello"})

    async def _start(self, send: Callable[[Message], Any]) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


class Bench:
    """A connection between a fake transport and an application."""

    def __init__(self, *, read_s: float = 5) -> None:
        self.app = App()
        self.app.may_answer.set()
        self.transport = FakeTransport()
        self.state = ServerState()
        config = uvicorn.Config(
            self.app, log_config=None, http="httptools", ws="none", lifespan="off"
        )
        config.load()
        self.connection = Connection(config, self.state, {}, read_s=read_s)
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def written(self) -> bytes:
        return b"".join(self.transport.written)

    async def done(self) -> None:
        """Wait until nothing runs any more."""
        with anyio.fail_after(5):
            while self.state.tasks:
                await anyio.lowlevel.checkpoint()

    def leave(self) -> None:
        self.connection.connection_lost(None)


async def test_a_request_is_answered() -> None:
    bench = Bench()
    bench.send(HELLO)
    await bench.done()
    assert bench.written.endswith(b"\r\n\r\nhello")
    bench.leave()


async def test_what_is_no_http_is_told_and_then_nothing_more_is_read() -> None:
    bench = Bench()
    bench.send(b"nonsense\r\n\r\n")
    bench.send(HELLO)
    assert bench.written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in bench.written
    assert bench.transport.is_half_closed
    assert not bench.app.requests
    bench.leave()


async def test_where_half_cannot_be_closed_all_of_it_is() -> None:
    bench = Bench()
    bench.transport.can_half_close = False
    bench.send(b"nonsense\r\n\r\n")
    assert bench.transport.is_closed
    bench.leave()


async def test_what_is_closed_already_is_not_closed_again() -> None:
    bench = Bench()
    bench.transport.close()
    bench.connection.close_gently()
    assert not bench.transport.is_half_closed
    bench.leave()


async def test_garbage_behind_a_request_leaves_it_its_answer() -> None:
    bench = Bench()
    bench.send(HELLO + b"\x00")
    await bench.done()
    assert bench.written.count(b"HTTP/1.1") == 1
    assert bench.written.endswith(b"hello")
    assert bench.transport.is_closed
    bench.leave()


BROKEN = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n"


async def test_a_broken_body_is_told_to_the_client_and_as_a_leave_to_the_application() -> None:
    bench = Bench()
    bench.send(BROKEN)
    await bench.done()
    assert bench.written.startswith(b"HTTP/1.1 400")
    assert bench.written.count(b"HTTP/1.1") == 1
    assert bench.app.left == ["/"]
    bench.leave()


async def test_a_broken_body_of_an_answer_that_has_begun_ends_it() -> None:
    bench = Bench()
    bench.app.starts_early = True
    bench.send(BROKEN[:-10])
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    bench.send(BROKEN[-10:])
    assert bench.transport.is_closed
    assert bench.written.count(b"HTTP/1.1") == 1
    bench.leave()
    await bench.done()


async def test_a_broken_body_of_an_answered_request_is_not_told_again() -> None:
    bench = Bench()
    bench.app.reads = False
    bench.send(BROKEN[:-10])
    await bench.done()
    bench.send(BROKEN[-10:])
    assert bench.written.endswith(b"hello")
    assert bench.written.count(b"HTTP/1.1") == 1
    assert bench.transport.is_half_closed
    bench.leave()
    await bench.done()


async def test_connect_is_refused() -> None:
    bench = Bench()
    bench.send(b"CONNECT engine:8000 HTTP/1.1\r\n\r\n")
    assert bench.written.startswith(b"HTTP/1.1 400")
    assert not bench.app.requests
    bench.leave()


@pytest.mark.parametrize(
    ("connection", "is_last"), [(b"Upgrade, HTTP2-Settings", False), (b"upgrade, close", True)]
)
async def test_an_offer_to_upgrade_is_passed_over(connection: bytes, is_last: bool) -> None:
    bench = Bench()
    head = b"POST / HTTP/1.1\r\nConnection: %b\r\nUpgrade: h2c\r\ncontent-length: 2\r\n\r\n"
    bench.send(head % connection + b"{")
    bench.send(b"}")
    await bench.done()
    assert bench.written.endswith(b"hello")
    assert bench.transport.is_closed is is_last
    bench.leave()


async def test_a_client_that_leaves_is_made_known_to_the_request_that_runs() -> None:
    bench = Bench()
    waiting = b"POST /second HTTP/1.1\r\ncontent-length: 2\r\n\r\n"
    bench.send(b"POST /first HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
    bench.app.may_answer = anyio.Event()
    await anyio.lowlevel.checkpoint()
    first = bench.connection.cycle
    bench.send(waiting)
    assert bench.connection.cycle is not first
    bench.leave()
    assert first.disconnected
    bench.app.may_answer.set()
    await bench.done()
    assert bench.app.requests == ["/first"]


async def test_a_head_has_its_time() -> None:
    bench = Bench(read_s=0.01)
    bench.send(b"GET / HTT")
    await until(lambda: bool(bench.written), within_s=5)
    assert bench.written.startswith(b"HTTP/1.1 408")
    bench.leave()


async def test_a_head_in_pieces_is_read_and_bounded() -> None:
    bench = Bench()
    for piece in (HELLO[:3], HELLO[3:9], HELLO[9:]):
        bench.send(piece)
    await bench.done()
    assert bench.written.endswith(b"hello")
    bench.transport.written.clear()
    bench.send(b"GET / HTTP/1.1\r\n")
    for _ in range(40):
        bench.send(b"x: %b\r\n" % (b"y" * 2000))
    assert bench.written.startswith(b"HTTP/1.1 431")
    bench.leave()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /", b"nonsense\r\n\r\n"])
async def test_a_lost_connection_leaves_no_timer(sent: bytes) -> None:
    bench = Bench()
    bench.send(sent)
    connection = bench.connection
    timers = [connection.timeout_keep_alive_task, connection._head_deadline, connection._linger]
    assert [timer for timer in timers if timer is not None]
    bench.leave()
    assert all(timer.cancelled() for timer in timers if timer is not None)


@pytest.mark.parametrize(("bytes_", "status"), [(64_000, b"200"), (70_000, b"431")])
async def test_a_long_head_in_one_piece_is_measured(bytes_: int, status: bytes) -> None:
    bench = Bench()
    bench.send(b"GET / HTTP/1.1\r\nx: %b\r\n\r\n" % (b"y" * bytes_))
    await bench.done()
    assert bench.written.startswith(b"HTTP/1.1 " + status)
    bench.leave()


async def test_a_head_names_the_end_of_a_connection() -> None:
    connection = Bench().connection
    assert connection.head(200, ((b"a", b"b"),), keep_alive=True) == b"HTTP/1.1 200 OK\r\na: b\r\n"
    assert connection.head(200, (), keep_alive=False).endswith(b"\r\nconnection: close\r\n")
