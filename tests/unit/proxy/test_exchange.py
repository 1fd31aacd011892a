import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.engines import ENGINES
from gateway.engines.adapter import Load
from gateway.errors import (
    ClientGone,
    ConnectionLost,
    EngineFault,
    EngineOverloaded,
    EngineUnreachable,
    GatewayError,
    ModelNotFound,
)
from gateway.fleet.health import Condition
from gateway.fleet.state import FleetState
from gateway.limits.limiter import Limiter
from gateway.limits.memory_store import MemoryStore
from gateway.proxy.account import Bookkeeper
from gateway.proxy.attempt import Attempts, StreamBounds
from gateway.proxy.call import Call
from gateway.proxy.dialect import OpenAiDialect
from gateway.proxy.exchange import Exchange, tell
from gateway.proxy.retry import RetryRules
from gateway.routing import POLICIES
from gateway.telemetry.logs import RequestLog
from gateway.telemetry.metrics import Metrics
from gateway.wire.ask import Operation
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.counted import counted
from tests.support.fake_client import FakeClient
from tests.support.fake_clock import FakeClock
from tests.support.fake_upstream import EVENTS, FakeResponse, FakeUpstream

KEYS: dict[str, Any] = {"keys": [{"name": "team", "secret": {"value": "sk-team"}}]}
WHOLE = (
    b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}'
)
WORD = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def whole() -> FakeResponse:
    return FakeResponse(200, [WHOLE])


def stream(*pieces: bytes, **more: Any) -> FakeResponse:
    return FakeResponse(200, pieces or (WORD, STOP, DONE), headers=(EVENTS,), **more)


class Bench:
    """An exchange over two replicas of one model, and everything around it."""

    def __init__(self, *script: FakeResponse | Exception, **document: Any) -> None:
        self.responses = [one for one in script if isinstance(one, FakeResponse)]
        self.upstream = FakeUpstream(*script)
        self.clock = FakeClock()
        self.lines = bytearray()
        self.metrics = Metrics()
        self.store = MemoryStore(self.clock)
        self.limiter = Limiter(self.store, self.metrics, self.clock)
        variant = a_variant("fp8", "http://a.test:80", "http://b.test:80")
        timeouts = document.pop("timeouts", {})
        model = a_model("m", variants=[variant], timeouts=timeouts)
        tgi = a_model("t", engine="tgi")
        self.fleet = FleetState(a_catalog(model, tgi, **document))
        self.books = Bookkeeper(self.metrics, RequestLog(self), self.clock, self.fleet)
        self.exchange = Exchange(
            fleet=self.fleet,
            engines=ENGINES,
            policies={name: new() for name, new in POLICIES.items()},
            attempts=Attempts(self.upstream, self.metrics, self.clock, StreamBounds()),
            books=self.books,
            retries=RetryRules(max_attempts=3, backoff_s=0.002),
            limiter=self.limiter,
            clock=self.clock,
            rng=random.Random(0),
        )
        self.client = FakeClient()

    def write(self, line: bytearray, /) -> None:
        self.lines += line

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.client.body)["error"]
        return error

    def call(self, *, streams: bool = False, **more: Any) -> Call:
        fields = {"model": "m", "messages": [], "stream": streams} | more.pop("fields", {})
        if not streams:
            fields.setdefault("max_tokens", 16)  # soon said: it is fetched whole
        known: dict[str, Any] = {
            "operation": Operation.CHAT,
            "dialect": OpenAiDialect(),
            "request_id": "id-1",
        }
        body = json.dumps(fields).encode()
        return Call(body=body, received_s=self.clock.now_s(), **(known | more))

    async def run(self, **more: Any) -> dict[str, Any]:
        """Answer one call; its line in the log."""
        with anyio.fail_after(5):
            await self.exchange.run(self.call(**more), self.client)
        (line,) = self.settled()
        return line

    def settled(self) -> list[dict[str, Any]]:
        """The log, once it is proved that nothing is held or open."""
        assert self.books.open_calls == 0
        assert [state.in_flight for state in self.fleet] == [0] * len(list(self.fleet))
        assert all(response.closed == 1 for response in self.responses if response.closed)
        calls = counted(self.metrics, "gateway_requests", "outcome")
        assert sum(calls.values()) == len(self.log)
        return self.log


async def test_a_whole_answer_is_told_and_counted() -> None:
    bench = Bench(whole())
    line = await bench.run()
    assert bench.client.status == 200
    assert json.loads(bench.client.body)["choices"][0]["message"]["content"] == "hi"
    assert (line["outcome"], line["status"], line["attempts"]) == ("ok", 200, 1)
    assert (line["prompt_tokens"], line["completion_tokens"]) == (5, 1)
    assert line["variant"] == "m:fp8"


async def test_a_stream_is_told_and_counted() -> None:
    bench = Bench(stream())
    line = await bench.run(streams=True)
    assert bench.client.body.endswith(DONE)
    assert (line["outcome"], line["stream"], line["finish_reason"]) == ("ok", True, "stop")


async def test_a_failed_try_is_repeated_elsewhere() -> None:
    bench = Bench(EngineUnreachable("away"), whole())
    line = await bench.run()
    first, second = (origin for origin, _ in bench.upstream.sent)
    assert first != second
    assert (line["outcome"], line["attempts"]) == ("ok", 2)
    tries = counted(bench.metrics, "gateway_attempts", "outcome")
    assert tries == {"engine_unreachable": 1, "ok": 1}


async def test_a_wait_comes_before_a_try_that_it_may_help() -> None:
    bench = Bench(EngineOverloaded("busy"), whole())
    assert (await bench.run())["outcome"] == "ok"


async def test_when_no_replica_is_left_the_last_failure_is_told() -> None:
    bench = Bench(EngineUnreachable("away"), EngineUnreachable("gone"))
    line = await bench.run()
    assert (bench.client.status, bench.error["message"]) == (502, "gone")
    assert (line["outcome"], line["error_code"]) == ("engine_error", "engine_unreachable")


async def test_a_failure_that_is_no_reason_to_try_again_is_told_at_once() -> None:
    bench = Bench(FakeResponse(400, [b'{"error":{"message":"too long","code":400}}']))
    line = await bench.run()
    assert (bench.client.status, line["attempts"]) == (400, 1)
    assert bench.error["message"] == "too long"


async def test_nobody_is_tried_again_for_a_client_that_is_gone() -> None:
    bench = Bench(EngineUnreachable("away"), whole())
    bench.upstream.checkpoint = lambda _: setattr(bench.client, "is_gone", True)
    line = await bench.run()
    assert line["attempts"] == 1
    assert not bench.client.has_started


async def test_replicas_that_seem_down_are_asked_when_there_is_no_other() -> None:
    bench = Bench(whole())
    for state in bench.fleet:
        bench.fleet.probed(state, Condition.LOADING, Load(), 0.0)
    assert (await bench.run())["outcome"] == "ok"


async def test_without_a_replica_it_is_a_503() -> None:
    bench = Bench()
    bench.fleet._by_variant = {}
    line = await bench.run()
    assert (bench.client.status, line["error_code"]) == (503, "no_replica_available")
    assert b"retry-after" in bench.client.headers


async def test_what_no_variant_can_do_is_told() -> None:
    bench = Bench()
    line = await bench.run(operation=Operation.EMBEDDINGS, fields={"model": "t", "input": "x"})
    assert (bench.client.status, line["outcome"]) == (400, "client_error")
    assert "embeddings" in bench.error["message"]


async def test_a_key_is_asked_for_before_anything_is_read() -> None:
    bench = Bench(**KEYS)
    line = await bench.run(fields={"model": 7})
    assert (bench.client.status, line["error_code"]) == (401, "invalid_api_key")
    assert "caller" not in line


async def test_a_gateway_that_drains_takes_no_call() -> None:
    bench = Bench()
    bench.exchange.is_draining = True
    line = await bench.run()
    assert (bench.client.status, line["error_code"]) == (503, "gateway_draining")
    assert bench.client.headers[b"retry-after"] == b"1"


async def test_the_whole_call_has_a_deadline() -> None:
    bench = Bench(stream(WORD, ends=False), timeouts={"total_s": 0.01})
    line = await bench.run(streams=True)
    assert line["error_code"] == "deadline_exceeded"
    assert b"deadline_exceeded" in bench.client.body


async def test_a_deadline_after_a_whole_answer_is_no_failure() -> None:
    bench = Bench(stream(ends=False), timeouts={"total_s": 0.01})
    line = await bench.run(streams=True)
    assert line["outcome"] == "ok"
    assert bench.client.body.endswith(DONE)


async def test_a_bug_is_a_500_with_an_id_and_one_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "the secret of the bug"  # what a stack may show
    bench = Bench(ZeroDivisionError(secret))
    with caplog.at_level(logging.DEBUG):
        line = await bench.run()
    assert (bench.client.status, bench.error["code"]) == (500, "internal_error")
    assert secret.encode() not in bench.client.body
    assert b"Traceback" not in bench.client.body
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["request_id"]) == ("bug", "id-1")
    assert vars(record)["reason"] in bench.error["message"]
    assert record.exc_info is not None
    assert line["outcome"] == "gateway_error"
    assert secret not in str(line)


async def test_a_bug_in_a_stream_that_has_begun_is_an_error_event() -> None:
    broken = stream(WORD, ends=False)
    bench = Bench(broken)
    write = bench.client.write

    def write_and_fail(piece: bytes) -> None:
        write(piece)
        bench.client.write = write  # type: ignore[method-assign]  # only once
        raise ZeroDivisionError

    bench.client.write = write_and_fail  # type: ignore[method-assign]
    line = await bench.run(streams=True)
    assert b"internal_error" in bench.client.body
    assert bench.client.is_finished
    assert line["outcome"] == "gateway_error"


SCRIPTS: dict[str, tuple[bool, Callable[[], list[FakeResponse | Exception]]]] = {
    "whole": (False, lambda: [whole()]),
    "stream": (True, lambda: [stream()]),
    "stream without an end": (True, lambda: [stream(ends=False)]),
    "silent stream": (True, lambda: [stream(b": ping\n\n", ends=False)]),
    "stream that stops": (True, lambda: [stream(WORD, ends=False)]),
    "refused": (False, lambda: [FakeResponse(400, [b"{}"])]),
    "not a stream": (True, lambda: [FakeResponse(200, [WHOLE])]),
    "tried again": (False, lambda: [EngineOverloaded("busy"), whole()]),
    "tried again and again": (True, lambda: [EngineFault("a"), EngineFault("b")]),
    "broken before content": (
        True,
        lambda: [stream(b": ping\n\n", failure=ConnectionLost("x")), stream()],
    ),
}


@pytest.mark.parametrize("leaves", [True, False], ids=["client leaves", "shutdown"])
@pytest.mark.parametrize("script", list(SCRIPTS))
async def test_cancelled_at_any_await_it_settles_once(script: str, leaves: bool) -> None:
    streams, responses = SCRIPTS[script]
    cancelled = 0
    for steps in range(16):
        bench = Bench(*responses())
        running = asyncio.get_running_loop().create_task(
            bench.exchange.run(bench.call(streams=streams), bench.client)
        )
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        was_finished = bench.client.is_finished
        was_started = bench.books.open_calls > 0
        if leaves:
            bench.client.is_gone = True
        running.cancel()
        with anyio.fail_after(5):
            await asyncio.wait([running])
        cancelled += running.cancelled()
        lines = bench.settled()
        assert len(lines) == (1 if was_started or was_finished or steps else 0)
        if was_started and running.cancelled():
            wanted = "client_gone" if leaves else "gateway_error"
            assert lines[0]["outcome"] == ("ok" if was_finished else wanted)
            assert leaves or bench.client.is_finished
        running.cancelled() or running.result()
    assert cancelled > 1


async def test_a_cancelled_stream_tells_the_client_that_the_gateway_stops() -> None:
    bench = Bench(stream(WORD, ends=False))
    running = asyncio.get_running_loop().create_task(
        bench.exchange.run(bench.call(streams=True), bench.client)
    )
    while not bench.client.has_started:  # the fake does not announce it
        await anyio.lowlevel.checkpoint()
    running.cancel()
    await asyncio.wait([running])
    assert bench.client.body.startswith(WORD)
    assert b"gateway_draining" in bench.client.body
    assert bench.client.is_finished


@pytest.mark.parametrize("failure", [ModelNotFound("no"), ClientGone("left")])
def test_nothing_is_told_to_a_client_that_is_gone(failure: GatewayError) -> None:
    bench = Bench()
    bench.client.is_gone = True
    tell(bench.client, bench.call(), failure)
    assert not bench.client.has_started


LIMITED: dict[str, Any] = {
    "plans": [
        {
            "name": "default",
            "requests_per_minute": 60,
            "tokens_per_minute": 6000,
            "concurrent_requests": 2,
        }
    ]
}


def lacks(bench: Bench) -> dict[str, float]:
    """What is taken of each limit: in seconds of filling up, or slots."""
    now_us = bench.clock.now_s() * 1e6
    rate = {key: (at - now_us) / 1e6 for key, at in bench.store._full_at_us.items() if at > now_us}
    return rate | bench.store._slots


async def test_an_answer_costs_what_the_engine_counted() -> None:
    bench = Bench(whole(), **LIMITED)
    await bench.run()
    assert lacks(bench) == {
        "key/anonymous/requests_per_minute": 1,
        "key/anonymous/tokens_per_minute": pytest.approx(0.06),
    }
    headers = bench.client.headers
    assert headers[b"x-ratelimit-remaining-requests"] == b"59"
    assert headers[b"x-ratelimit-limit-tokens"] == b"6000"


async def test_an_answer_without_usage_costs_what_we_count() -> None:
    said = WHOLE[: WHOLE.index(b',"usage"')] + b"}"
    bench = Bench(FakeResponse(200, [said]), **LIMITED)
    await bench.run()
    prompt = 1  # of `[]`
    assert lacks(bench)["key/anonymous/tokens_per_minute"] == pytest.approx((prompt + 1) / 100)


async def test_a_stream_has_the_headers_too() -> None:
    bench = Bench(stream(), **LIMITED)
    await bench.run(streams=True)
    assert bench.client.headers[b"x-ratelimit-reset-requests"] == b"1s"
    assert lacks(bench)["key/anonymous/requests_per_minute"] == 1


async def test_a_failure_costs_nothing_and_tells_what_was_left() -> None:
    bench = Bench(EngineFault("x"), EngineFault("x"), **LIMITED)
    line = await bench.run()
    assert line["status"] == 502
    assert lacks(bench) == {}
    assert bench.client.headers[b"x-ratelimit-remaining-requests"] == b"59"
    assert bench.client.headers[b"x-gateway-replica"] == b"r1", "who failed last"


async def test_a_reached_limit_is_told_and_no_engine_is_asked() -> None:
    bench = Bench(plans=[{"name": "default", "tokens_per_minute": 300}])
    (bucket,) = bench.limiter.buckets_of(bench.fleet.catalog.keys.caller(None))
    bench.store.begin([(bucket, 60e6)], [])
    line = await bench.run()
    assert (line["status"], line["error_code"], line["attempts"]) == (429, "rate_limit_exceeded", 0)
    assert line["model"] == "m"
    assert bench.error["type"] == "tokens"
    assert bench.client.headers[b"retry-after-ms"].isdigit()
    assert bench.client.headers[b"x-ratelimit-remaining-tokens"] == b"0"
    assert bench.upstream.sent == []


async def test_a_call_larger_than_its_limit_is_not_to_be_tried_again() -> None:
    bench = Bench(plans=[{"name": "default", "tokens_per_minute": 10}])
    line = await bench.run()
    assert line["status"] == 429
    assert bench.client.headers[b"x-should-retry"] == b"false"
    assert b"retry-after" not in bench.client.headers


def limited_variants(*script: FakeResponse | Exception, **more: Any) -> Bench:
    """A bench whose model has a variant that is used up, and another."""
    bench = Bench(*script)
    used_up = a_variant("a", "http://a.test:80", limits={"requests_per_day": 1})
    other = a_variant("b", "http://b.test:80", **more)
    bench.fleet.apply(a_catalog(a_model("m", variants=[used_up, other])))
    return bench


async def test_a_variant_whose_limit_is_reached_is_passed_over() -> None:
    bench = limited_variants(whole(), whole())
    assert (await bench.run())["variant"] == "m:a"
    bench.client = FakeClient()
    await bench.exchange.run(bench.call(), bench.client)
    assert [line["variant"] for line in bench.settled()] == ["m:a", "m:b"]
    assert bench.client.status == 200


async def test_when_all_variants_are_used_up_the_call_is_refused() -> None:
    bench = limited_variants(whole(), whole(), limits={"requests_per_day": 1})
    for _ in range(3):
        bench.client = FakeClient()
        await bench.exchange.run(bench.call(), bench.client)
    assert [line["status"] for line in bench.settled()] == [200, 200, 429]
    assert 'everybody who uses "m:b" on requests per day' in bench.error["message"]


async def test_the_limits_go_with_the_call_to_another_variant() -> None:
    bench = limited_variants(EngineUnreachable("x"), whole(), limits={"requests_per_day": 5})
    line = await bench.run()
    assert line["variant"] == "m:b"
    assert list(lacks(bench)) == ["variant/m:b/requests_per_day"]


async def test_a_failure_is_told_when_the_next_variant_is_used_up() -> None:
    bench = limited_variants(
        whole(), whole(), EngineUnreachable("away"), limits={"requests_per_day": 1}
    )
    bench.fleet.apply(
        a_catalog(
            a_model(
                "m",
                variants=[
                    a_variant("a", "http://a.test:80"),
                    a_variant("b", "http://b.test:80", limits={"tokens_per_minute": 1}),
                ],
            )
        )
    )
    bench.upstream = FakeUpstream(EngineUnreachable("away"))
    bench.exchange._attempts._upstream = bench.upstream
    line = await bench.run()
    assert (line["status"], line["error_code"]) == (502, "engine_unreachable")
    assert lacks(bench) == {}


async def test_a_slot_is_held_while_the_engine_answers() -> None:
    bench = Bench(stream(WORD, ends=False), plans=[{"name": "default", "concurrent_requests": 2}])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.exchange.run, bench.call(streams=True), bench.client)
        while not bench.client.body:
            await anyio.lowlevel.checkpoint()
        assert lacks(bench) == {"key/anonymous/concurrent_requests": 1}
        tasks.cancel_scope.cancel()
    assert lacks(bench) == {}


async def test_a_call_that_has_failed_everywhere_is_told_without_a_wait() -> None:
    bench = Bench(EngineFault("a"), EngineFault("b"))
    waits = [0.0, 60.0]
    bench.exchange.retries = RetryRules(max_attempts=9)
    bench.exchange._rng.uniform = lambda a, b: waits.pop(0)  # type: ignore[method-assign]
    line = await bench.run()
    assert waits == [60.0]
    assert (line["attempts"], line["error_cause"]) == (2, "b")
    assert "retry_refused" not in line, "there was no other replica to ask"


def failing(calls: int) -> list[EngineFault]:
    return [EngineFault("broken") for _ in range(calls * 2)]


async def test_beyond_the_budget_a_failure_stands_and_the_log_says_why() -> None:
    bench = Bench(*failing(4))
    bench.exchange.retries = RetryRules(budget_floor=2, backoff_s=0.0)
    for _ in range(4):
        bench.client = FakeClient()
        await bench.exchange.run(bench.call(), bench.client)
    lines = bench.settled()
    assert [line["attempts"] for line in lines] == [2, 2, 1, 1]
    assert [line.get("retry_refused") for line in lines] == [None, None, "budget", "budget"]
    assert counted(bench.metrics, "gateway_retries_refused", "reason") == {"budget": 2}
    assert counted(bench.metrics, "gateway_retries_refused", "model") == {"m": 2}


async def test_the_budget_of_one_model_is_not_that_of_another() -> None:
    bench = Bench(EngineFault("x"), EngineFault("x"), whole())
    bench.exchange.retries = RetryRules(budget_floor=0, budget_ratio=0, backoff_s=0.0)
    await bench.exchange.run(bench.call(), bench.client)
    bench.exchange.retries = RetryRules(budget_floor=1, budget_ratio=0, backoff_s=0.0)
    assert bench.exchange._budget("m") is bench.exchange._budget("m")
    assert bench.exchange._budget("m") is not bench.exchange._budget("t")


async def test_the_last_attempt_that_is_allowed_is_told_as_such() -> None:
    bench = Bench(EngineFault("a"))
    bench.exchange.retries = RetryRules(max_attempts=1)
    assert (await bench.run())["retry_refused"] == "attempts"


async def test_a_retry_past_the_deadline_does_not_begin() -> None:
    bench = Bench(EngineUnreachable("a"), whole())
    bench.upstream.checkpoint = lambda _: bench.clock.pass_s(2.0)
    line = await bench.run(timeout_s=2.0)
    assert (line["error_cause"], line["retry_refused"]) == ("a", "deadline")


async def test_the_client_may_ask_for_less_time_than_the_model_has() -> None:
    bench = Bench(stream(WORD, ends=False))
    line = await bench.run(streams=True, timeout_s=0.01)
    assert line["error_code"] == "deadline_exceeded"


async def asked_after_an_overload(*, after_s: float) -> list[str]:
    """Who is asked by a first call, which is told to come back in 3 s, and by three more later."""
    answers = [whole() for _ in range(4)]
    bench = Bench(EngineOverloaded("busy", retry_after_s=3.0), *answers)
    for wait_s in (0.0, after_s, 0.0, 0.0):
        bench.clock.pass_s(wait_s)
        bench.client = FakeClient()
        await bench.exchange.run(bench.call(), bench.client)
    assert [line["outcome"] for line in bench.settled()] == ["ok"] * 4
    return [origin.host for origin, _ in bench.upstream.sent]


async def test_an_overloaded_replica_is_passed_over_until_it_has_rested() -> None:
    first, *others = await asked_after_an_overload(after_s=2.9)
    assert first not in others
    first, *others = await asked_after_an_overload(after_s=3.0)
    assert first in others


async def test_when_all_rest_a_new_call_is_sent_and_a_failed_one_is_not() -> None:
    busy = [EngineOverloaded("busy", retry_after_s=9.0) for _ in range(3)]
    bench = Bench(*busy, whole())
    await bench.exchange.run(bench.call(), bench.client)
    assert bench.client.headers[b"retry-after"] == b"9"
    bench.client = FakeClient()
    await bench.exchange.run(bench.call(), bench.client)
    bench.client = FakeClient()
    await bench.exchange.run(bench.call(), bench.client)
    assert [line["attempts"] for line in bench.settled()] == [2, 1, 1]
    assert bench.client.status == 200


async def test_a_failed_call_may_go_to_one_that_did_not_say_how_long_it_is_busy() -> None:
    bench = Bench(EngineOverloaded("busy"), whole(), EngineFault("x"), whole())
    await bench.exchange.run(bench.call(), bench.client)
    bench.client = FakeClient()
    await bench.exchange.run(bench.call(), bench.client)
    assert [line["attempts"] for line in bench.settled()] == [2, 2]
    first, other, _, again = (origin.host for origin, _ in bench.upstream.sent)
    assert first == again != other


async def test_a_bug_right_after_a_place_was_found_gives_it_back() -> None:
    bench = Bench(whole())

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    bench.exchange._attempts.form = broken  # type: ignore[assignment]
    line = await bench.run()
    assert line["error_code"] == "internal_error"
    assert not any(state.in_flight for state in bench.fleet)
