import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.api import direct
from gateway.api.direct import DirectAnswer, DirectProtocol
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from tests.support.fake_clock import FakeClock
from tests.support.fake_exchange import FakeExchange, forever
from tests.support.fake_transport import FakeTransport
from tests.support.raw_client import get, post
from tests.support.running import until


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


class Bench:
    """A direct connection between a fake transport and a fake exchange."""

    def __init__(
        self,
        answer: Callable[[Call, Client], Awaitable[None]] | None = None,
        *,
        read_s: float = 5,
        keep_alive_s: int = 5,
    ) -> None:
        self.exchange = FakeExchange(answer)
        self.clock = FakeClock()
        self.transport = FakeTransport()
        self.state = ServerState()
        config = uvicorn.Config(
            hello,
            log_config=None,
            http="httptools",
            ws="none",
            lifespan="off",
            timeout_keep_alive=keep_alive_s,
        )
        config.load()
        self.connection = DirectProtocol(
            config,
            self.state,
            {},
            inference=self.exchange.inference(self.clock),
            clock=self.clock,
            read_s=read_s,
        )
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def written(self) -> bytes:
        return b"".join(self.transport.written)

    @property
    def last(self) -> DirectAnswer:
        """The answer to the last request, as uvicorn holds it."""
        return cast("DirectAnswer", self.connection.cycle)

    @property
    def answers(self) -> int:
        return self.written.count(b"HTTP/1.1 ")

    async def done(self) -> None:
        """Wait until nothing runs any more."""
        with anyio.fail_after(5):
            await anyio.lowlevel.checkpoint()
            while self.state.tasks:
                await anyio.lowlevel.checkpoint()

    def leave(self) -> None:
        self.connection.connection_lost(None)


async def test_a_call_reaches_the_exchange_and_its_answer_the_client() -> None:
    bench = Bench()
    bench.send(post(b'{"a":1}', x_request_id="mine"))
    await bench.done()
    (call,) = bench.exchange.calls
    assert (call.body, call.request_id) == (b'{"a":1}', "mine")
    assert bench.exchange.clients[0].is_finished
    assert bench.written == b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"a":1}'
    bench.leave()


async def test_what_is_no_inference_goes_the_ordinary_way() -> None:
    bench = Bench()
    bench.send(get("/health") + post(b"{}", "/other"))
    await bench.done()
    await bench.done()
    assert not bench.exchange.calls
    assert bench.written.count(b"hello") == 2
    bench.leave()


async def stream(_call: Call, client: Client) -> None:
    client.on_pressure(lambda: None, lambda: None)
    client.start(200, ((b"a", b"b"),))
    client.write(b"one")
    client.write(b"two")
    client.finish()


async def test_a_stream_is_chunked_and_its_head_leaves_with_the_first_piece() -> None:
    bench = Bench(stream)
    bench.send(post(b"{}"))
    await bench.done()
    head = b"HTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n"
    assert bench.transport.written == [head + b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"]
    bench.leave()


async def test_a_stream_over_http_1_0_ends_with_the_connection() -> None:
    bench = Bench(stream)
    bench.send(post(b"{}", version="1.0"))
    await bench.done()
    assert bench.written.endswith(b"\r\n\r\nonetwo")
    assert b"chunked" not in bench.written
    assert bench.transport.is_closed
    bench.leave()


async def test_nothing_is_written_for_a_client_that_is_gone() -> None:
    async def write_anyway(_call: Call, client: Client) -> None:
        bench.leave()
        client.respond(200, (), b"")
        client.write(b"piece")
        client.finish()

    bench = Bench(write_anyway)
    bench.send(post(b"{}"))
    await bench.done()
    assert not bench.written
    assert bench.exchange.clients[0].is_gone


async def test_a_client_that_leaves_ends_the_call() -> None:
    bench = Bench(forever)
    bench.send(post(b"{}"))
    await anyio.lowlevel.checkpoint()
    bench.leave()
    await bench.done()
    assert bench.exchange.cancelled == 1


async def test_an_aborted_answer_drops_the_connection() -> None:
    async def abort(_call: Call, client: Client) -> None:
        client.abort()

    bench = Bench(abort)
    bench.send(post(b"{}"))
    await bench.done()
    assert bench.transport.is_aborted
    bench.leave()


async def test_a_slow_client_pauses_the_engine_and_since_when_is_known() -> None:
    pressed: list[str] = []

    async def wait(_call: Call, client: Client) -> None:
        client.on_pressure(lambda: pressed.append("pause"), lambda: pressed.append("resume"))
        await asyncio.get_running_loop().create_future()

    bench = Bench(wait)
    bench.send(post(b"{}"))
    bench.connection.pause_writing()
    await anyio.lowlevel.checkpoint()
    (client,) = bench.exchange.clients
    assert pressed == ["pause"]
    since_s = [client.blocked_since_s]
    bench.connection.resume_writing()
    assert pressed == ["pause", "resume"]
    since_s.append(client.blocked_since_s)
    assert since_s == [bench.clock.now_s(), None]
    bench.connection.pause_writing()
    assert pressed == ["pause", "resume", "pause"]
    bench.leave()
    await bench.done()


async def test_who_has_not_read_an_answer_gets_no_other() -> None:
    bench = Bench()
    bench.connection.pause_writing()
    bench.send(post(b"{}") + post(b"[]", content_type="text/plain") + post(b"{}"))
    await bench.done()
    assert (bench.answers, len(bench.exchange.calls)) == (1, 1)
    assert not bench.transport.is_reading()
    bench.connection.resume_writing()
    await bench.done()
    await bench.done()
    assert (bench.answers, len(bench.exchange.calls)) == (3, 2)
    assert bench.transport.is_reading()
    bench.leave()


async def test_refusals_that_nobody_reads_wait_too() -> None:
    bench = Bench()
    bench.connection.pause_writing()
    bench.send(post(b"[]", content_type="text/plain") * 5)
    await bench.done()
    assert bench.answers == 1
    bench.connection.resume_writing()
    with anyio.fail_after(5):
        while bench.answers < 5:
            await anyio.lowlevel.checkpoint()
    bench.leave()


async def test_a_client_that_reads_slowly_may_go_on_and_one_that_reads_nothing_may_not() -> None:
    bench = Bench()
    bench.connection.pause_writing()
    bench.transport.unsent_bytes = 1000
    bench.send(post(b"{}"))
    await bench.done()
    bench.connection._has_read(1001)
    assert not bench.transport.is_closing()
    bench.connection._has_read(1000)
    assert bench.transport.is_aborted
    bench.leave()


async def test_a_client_may_leave_with_answers_unread() -> None:
    bench = Bench()
    bench.connection.pause_writing()
    bench.send(post(b"{}") * 2)
    await bench.done()
    bench.leave()
    await bench.done()
    assert len(bench.exchange.calls) == 1


@pytest.mark.parametrize("length", [2, 10**6])
async def test_a_client_that_asks_first_is_answered_at_once(length: int) -> None:
    bench = Bench()
    bench.send(post(length=length, expect="100-continue"))
    assert bench.written.startswith(b"HTTP/1.1 100 " if length == 2 else b"HTTP/1.1 413 ")
    assert bench.transport.is_half_closed is (length != 2)
    bench.leave()


async def test_one_that_asks_first_behind_another_request_is_not_told_too_early() -> None:
    bench = Bench(forever)
    bench.send(post(b"{}") + post(length=2, expect="100-continue"))
    await anyio.lowlevel.checkpoint()
    assert not bench.written
    bench.leave()
    await bench.done()


async def test_a_refused_body_is_dropped_but_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "_MAX_DISCARDED_BYTES", 100)
    bench = Bench()
    bench.send(post(length=10**6))
    bench.send(b"x" * 100)
    assert not bench.transport.is_closing()
    bench.send(b"x")
    assert bench.transport.is_closed
    assert bench.answers == 1
    bench.leave()


async def test_a_body_over_the_bound_is_refused_where_it_passes_it() -> None:
    bench = Bench()
    bench.send(post(transfer_encoding="chunked") + b"1388\r\n%b\r\n" % (b"x" * 5000))
    assert not bench.written
    bench.send(b"1389\r\n%b\r\n" % (b"x" * 5001))
    assert bench.written.startswith(b"HTTP/1.1 413 ")
    bench.send(b"0\r\n\r\n" + post(b"{}"))
    await bench.done()
    assert bench.answers == 2
    bench.leave()


async def test_a_refused_body_that_never_ends_ends_the_connection() -> None:
    bench = Bench(read_s=0.01)
    bench.send(post(length=10**6))
    assert not bench.transport.is_closing()
    await until(lambda: bench.transport.is_half_closed, within_s=5)
    assert bench.answers == 1
    bench.leave()


async def test_a_body_that_comes_too_slowly_is_told_in_its_turn() -> None:
    may_answer = anyio.Event()

    async def wait(_call: Call, client: Client) -> None:
        await may_answer.wait()
        client.respond(200, (), b"first")

    bench = Bench(wait, read_s=0.02)
    bench.send(post(b"{}") + post(length=2))
    answer = bench.last
    await until(lambda: answer.refusal is not None, within_s=5)
    assert not bench.written
    may_answer.set()
    await until(lambda: bench.answers == 2, within_s=5)
    assert bench.written.index(b"first") < bench.written.index(b"408 Request Timeout")
    assert bench.transport.is_half_closed
    bench.leave()


async def test_a_refused_body_that_comes_too_slowly_ends_the_connection() -> None:
    may_answer = anyio.Event()

    async def wait(_call: Call, client: Client) -> None:
        await may_answer.wait()
        client.respond(200, (), b"first")

    bench = Bench(wait, read_s=0.02)
    bench.send(post(b"{}") + post(length=10**6))
    answer = bench.last
    await until(lambda: not answer.keep_alive, within_s=5)
    assert not bench.transport.is_closing()
    may_answer.set()
    await until(lambda: bench.transport.is_half_closed, within_s=5)
    assert (bench.answers, bench.written.count(b" 413 ")) == (2, 1)
    bench.leave()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/other"])
async def test_a_body_that_breaks_is_a_400(path: str) -> None:
    bench = Bench()
    bench.send(post(path=path, transfer_encoding="chunked") + b"no chunk\r\n")
    await bench.done()
    assert bench.written.startswith(b"HTTP/1.1 400 ")
    assert bench.answers == 1
    assert bench.transport.is_half_closed
    assert not bench.exchange.calls
    bench.leave()


async def test_an_offer_to_upgrade_is_passed_over() -> None:
    bench = Bench()
    bench.send(post(b"{}", connection="upgrade", upgrade="h2c"))
    await bench.done()
    assert bench.written.endswith(b"\r\n\r\n{}")
    bench.leave()


async def test_a_head_over_the_bound_is_refused() -> None:
    bench = Bench()
    bench.send(post(b"{}", long="x" * 70_000))
    assert bench.written.startswith(b"HTTP/1.1 431 ")
    bench.leave()


async def test_uvicorn_may_say_that_the_client_is_gone() -> None:
    bench = Bench(forever)
    bench.send(post(b"{}"))
    answer = bench.last
    answer.disconnected = True
    assert answer.disconnected
    answer.message_event.set()
    bench.leave()
    await bench.done()
