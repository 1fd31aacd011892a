import asyncio
import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.clock import SystemClock
from gateway.engines.vllm import VllmAdapter
from gateway.errors import (
    ClientGone,
    ConnectionLost,
    EngineFault,
    EngineOverloaded,
    EngineRefused,
    EngineSilent,
    GatewayError,
    StreamBroken,
    StreamStalled,
)
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.proxy import attempt
from gateway.proxy.account import Account
from gateway.proxy.attempt import Attempts, StreamBounds
from gateway.proxy.call import Call
from gateway.proxy.dialect import OpenAiDialect
from gateway.proxy.relay import HEARTBEAT
from gateway.proxy.story import Story
from gateway.telemetry.metrics import Metrics
from gateway.wire.ask import Operation
from tests.support.configs import a_catalog, a_model
from tests.support.fake_client import FakeClient
from tests.support.fake_upstream import EVENTS, JSON, FakeResponse, FakeUpstream
from tests.support.running import until

WORD = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
ROLE = b'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Bench:
    """One try on one replica."""

    def __init__(
        self,
        response: FakeResponse,
        *,
        streams: bool = True,
        tells_who: bool = True,
        bounds: Any = None,
        **timeouts: Any,
    ) -> None:
        self.response = response
        self.upstream = FakeUpstream(response)
        self.clock = SystemClock()
        self.client = FakeClient()
        limits = StreamBounds(**(bounds or {}))
        self.attempts = Attempts(self.upstream, Metrics(), self.clock, limits, tells_who=tells_who)
        (self.state,) = FleetState(a_catalog(a_model("m", timeouts=timeouts)))
        body = b'{"model":"m","messages":[],"stream":%b}' % (b"true" if streams else b"false")
        self.call = Call(Operation.CHAT, OpenAiDialect(), body, "id", self.clock.now_s())
        story = Story(self.call.received_s, self.clock.now_s)
        self.account = Account(self.call, lambda *_: None, story)

    async def run(self) -> None:
        self.account.attempt(Lease(self.state))
        ask = self.call.dialect.ask(self.call.body, self.call.operation, None)
        try:
            with anyio.fail_after(5):
                await self.attempts.run(
                    self.call, ask, VllmAdapter(), self.state, self.client, self.account
                )
        finally:
            assert self.response.closed == 1

    async def failure(self, kind: type[GatewayError]) -> GatewayError:
        with pytest.raises(kind) as raised:
            await self.run()
        return raised.value


def streamed(*pieces: bytes, **more: Any) -> FakeResponse:
    return FakeResponse(200, pieces, headers=(EVENTS,), **more)


async def test_a_stream_reaches_the_client_with_its_head() -> None:
    bench = Bench(streamed(ROLE, WORD, STOP, DONE))
    await bench.run()
    assert bench.client.body == ROLE + WORD + STOP + DONE
    assert bench.client.headers[b"content-type"].startswith(b"text/event-stream")
    assert bench.client.headers[b"x-request-id"] == b"id"
    assert bench.client.is_finished
    assert (bench.account.output_tokens, bench.account.finish_reason) == (1, "stop")


@pytest.mark.parametrize("streams", [True, False])
async def test_an_answer_names_who_gave_it_unless_that_is_not_to_be_told(streams: bool) -> None:
    body = b'{"model":"m","choices":[{"index":0,"message":{"content":"hi"}}]}'
    for tells_who, told in [(True, b"r0"), (False, None)]:
        whole = FakeResponse(200, [body], headers=(JSON,))
        response = streamed(ROLE, WORD, STOP, DONE) if streams else whole
        bench = Bench(response, streams=streams, tells_who=tells_who)
        await bench.run()
        assert bench.client.headers.get(b"x-gateway-replica") == told


@pytest.mark.parametrize(("streams", "first_byte_s"), [(True, 7), (False, math.inf)])
async def test_only_a_stream_has_to_begin_soon(streams: bool, first_byte_s: float) -> None:
    bench = Bench(FakeResponse(500), streams=streams, connect_s=3, first_byte_s=7)
    await bench.failure(EngineFault)
    assert bench.upstream.waits == [(3, first_byte_s)]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (FakeResponse(400, [b'{"error":{"message":"x","code":400}}']), EngineRefused),
        (FakeResponse(503, headers=((b"retry-after", b"7"),)), EngineOverloaded),
        (FakeResponse(500, failure=ConnectionLost("x")), EngineFault),
        (FakeResponse(302), EngineFault),
    ],
)
async def test_a_status_that_is_no_success_is_a_failure(
    response: FakeResponse, kind: type[GatewayError]
) -> None:
    await Bench(response).failure(kind)


async def test_an_error_body_that_does_not_come_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(limit_bytes: int) -> bytes:
        await asyncio.get_running_loop().create_future()
        return b""

    monkeypatch.setattr(attempt, "_ERROR_BODY_S", 0.01)
    response = FakeResponse(503, headers=((b"retry-after", b"7"),))
    monkeypatch.setattr(FakeResponse, "read", lambda _, limit_bytes: never(limit_bytes))
    failure = await Bench(response).failure(EngineOverloaded)
    assert failure.retry_after_s == 7


@pytest.mark.parametrize("body", [b"<html>", b'{"choices":[]}'])
async def test_an_engine_that_does_not_stream_has_failed(body: bytes) -> None:
    await Bench(FakeResponse(200, [body], headers=(JSON,))).failure(EngineFault)
    await Bench(FakeResponse(200, [body], headers=())).failure(EngineFault)


async def test_a_whole_error_in_place_of_a_stream_is_told() -> None:
    body = b'{"error":{"message":"too long","type":"BadRequestError","code":400}}'
    failure = await Bench(FakeResponse(200, [body])).failure(EngineRefused)
    assert failure.public == "too long"


@pytest.mark.parametrize(
    ("pieces", "failure", "kind"),
    [
        ([], ConnectionLost("x"), EngineFault),
        ([ROLE], ConnectionLost("x"), EngineFault),
        ([ROLE], None, EngineFault),
        ([WORD], ConnectionLost("x"), StreamBroken),
        ([WORD], None, StreamBroken),
        ([ROLE, b'data: {"error":{"message":"x","code":400}}\n\n'], None, EngineRefused),
    ],
)
async def test_a_break_is_curable_until_content_has_reached_the_client(
    pieces: list[bytes], failure: GatewayError | None, kind: type[GatewayError]
) -> None:
    bench = Bench(streamed(*pieces, failure=failure))
    await bench.failure(kind)
    assert bench.client.has_started is (WORD in pieces)
    assert not bench.client.is_finished
    assert bench.account.output_tokens == pieces.count(WORD)


async def test_an_engine_that_sends_nothing_is_silent() -> None:
    await Bench(streamed(ends=False), first_byte_s=0.01).failure(EngineSilent)


async def test_an_engine_that_stops_in_the_middle_has_stalled() -> None:
    await Bench(streamed(WORD, ends=False), idle_s=0.01).failure(StreamStalled)


@pytest.mark.parametrize(("pieces", "kind"), [((), EngineFault), ((WORD,), StreamBroken)])
async def test_a_silent_engine_that_takes_no_connections_has_broken_off(
    pieces: tuple[bytes, ...], kind: type[GatewayError]
) -> None:
    bench = Bench(streamed(*pieces, ends=False), unreachable_s=0.02)
    bench.state.is_unreachable = True
    await bench.failure(kind)


async def test_an_engine_that_takes_no_connections_may_say_what_it_has_to_say() -> None:
    """As one that shuts down in good order."""
    bench = Bench(streamed(ROLE, ends=False), unreachable_s=0.05)
    bench.state.is_unreachable = True

    async def speak() -> None:
        await until(lambda: bench.response.sink is not None, within_s=5)
        sink = bench.response.sink
        assert sink is not None
        for _ in range(10):
            sink.data(WORD)
            await anyio.sleep(0.02)
        sink.data(STOP + DONE)
        sink.ended(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(speak)
        await bench.run()
    assert bench.client.is_finished
    assert bench.client.body.count(WORD) == 10


async def test_a_client_that_reads_nothing_is_dropped() -> None:
    bench = Bench(streamed(WORD, ends=False), bounds={"write_stall_s": 0.01, "heartbeat_s": 0.002})
    bench.client.block(bench.clock.now_s())
    await bench.failure(ClientGone)
    assert bench.client.is_aborted
    assert HEARTBEAT not in bench.client.body


async def test_a_client_that_becomes_slow_in_the_middle_is_seen_at_once() -> None:
    bench = Bench(streamed(WORD, ends=False), bounds={"write_stall_s": 0.01})

    async def block() -> None:
        await until(lambda: bench.response.sink is not None, within_s=5)
        bench.client.block(bench.clock.now_s())
        assert bench.response.pressed == ["pause"]
        bench.client.unblock()
        assert bench.response.pressed == ["pause", "resume"]
        bench.client.block(bench.clock.now_s())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(block)
        await bench.failure(ClientGone)


async def test_heartbeats_go_out_while_the_engine_thinks() -> None:
    bench = Bench(streamed(ends=False), bounds={"heartbeat_s": 0.005}, first_byte_s=0.05, idle_s=5)
    await bench.failure(EngineSilent)
    assert bench.client.body.startswith(HEARTBEAT * 2)


async def test_the_end_of_the_body_is_waited_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "_LINGER_S", 0.01)
    bench = Bench(streamed(WORD, STOP, DONE, ends=False))
    await bench.run()
    assert bench.client.is_finished


async def test_an_engine_is_not_read_for_a_client_that_is_slow_already() -> None:
    bench = Bench(streamed(ROLE, WORD, STOP, DONE))
    bench.client.block(bench.clock.now_s())
    await bench.run()
    assert bench.response.pressed == ["pause"]
    bench.client.unblock()
    assert bench.response.pressed == ["pause", "resume"]
