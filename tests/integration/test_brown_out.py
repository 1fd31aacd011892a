"""When engines refuse or fail: how often they are asked, and how long anybody waits."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineOptions
from tests.support.counted import counted
from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, a_gateway

PATH = "/v1/chat/completions"
SLOW = EngineOptions(models=("sim",), inter_token_s=0.05, inter_token_s_per_running=0.0)
TGI = EngineOptions(engine="tgi", models=("sim",), inter_token_s=0.001)


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4} | more


async def post(it: Running, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(it.url + PATH, json=chat(**more), headers=headers)


async def flood(it: Running, calls: int, *, at_once: int = 16, **more: Any) -> Counter[int]:
    """So many calls, some at the same time; their statuses."""
    statuses: Counter[int] = Counter()
    left = iter(range(calls))
    async with httpx.AsyncClient(timeout=20) as client, anyio.create_task_group() as tasks:

        async def worker() -> None:
            for _ in left:
                answer = await client.post(it.url + PATH, json=chat(**more))
                statuses[answer.status_code] += 1

        for _ in range(at_once):
            tasks.start_soon(worker)
    await it.settled()
    return statuses


def tries(it: Running) -> float:
    """Tries on engines, as the metrics count them."""
    return sum(counted(it.gateway.books._metrics, "gateway_attempts", "outcome").values())


@asynccontextmanager
async def three(fault: str | None = None, **more: Any) -> AsyncIterator[Running]:
    """A gateway with three replicas that all have this fault."""
    engine = more.pop("engine", FAST)
    async with a_gateway(engine, engine, engine, **more) as it:
        for one in it.engines if fault else ():
            one.inject(fault or "")
        yield it


FAULTS = ["status=500", "status=503", "status=429", "reset-before-headers", "error-event-first"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_when_all_replicas_fail_engines_get_at_most_1_2_tries_a_call(fault: str) -> None:
    streams = fault == "error-event-first"
    async with three(fault) as it:
        statuses = await flood(it, 400, stream=streams)
        refused = counted(it.gateway.books._metrics, "gateway_retries_refused", "reason")
    assert 200 not in statuses
    assert tries(it) <= 400 * 1.2
    assert sum(len(engine.requests) for engine in it.engines) == tries(it)
    assert refused["budget"] > 0
    told = [line for line in it.log.requests if line.get("retry_refused") == "budget"]
    assert len(told) == refused["budget"]


async def test_one_bad_replica_of_three_is_hidden_even_from_few_calls() -> None:
    async with a_gateway(FAST, FAST, FAST) as it:
        it.engine.inject("status=503")
        statuses = await flood(it, 60, at_once=4)
        assert statuses == {200: 60}
        assert tries(it) < 60 * 1.2


async def test_a_dead_replica_costs_no_budget() -> None:
    dead = {"replicas": [{"url": "http://127.0.0.1:9"}]}
    async with a_gateway(FAST) as it:
        url = it.engine.url
        variant = {"engine": "vllm", "served_model": "sim"}
        replicas = [*dead["replicas"], {"url": url}]
        model = {"variants": [variant | {"replicas": replicas}]}
        rules = {"budget_ratio": 0, "budget_floor": 0}
        async with a_gateway(FAST, model=model, retries=rules) as behind:
            for state in behind.gateway.inference.exchange.fleet:
                state.turns = 0
            assert await flood(behind, 40, at_once=2) == {200: 40}


async def test_an_engine_that_said_retry_after_is_left_alone_until_then() -> None:
    async with a_gateway(FAST, FAST) as it:
        it.engine.inject("status=503;retry-after=30", count=1)
        assert await flood(it, 40, at_once=4) == {200: 40}
        first, second = (len(engine.requests) for engine in it.engines)
    assert first <= 4  # those that were on their way to it
    assert second >= 36


async def test_the_wait_that_an_engine_asked_for_is_told_to_the_client() -> None:
    async with a_gateway(FAST) as it:
        it.engine.inject("status=503;retry-after=7", count=1)
        refused = await post(it)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
        assert (await post(it)).status_code == 200, "nobody else is there: the engine decides"


async def test_an_overloaded_tgi_goes_elsewhere_in_a_stream_too() -> None:
    async with a_gateway(TGI, TGI) as it:
        it.engine.inject("status=429")
        assert await flood(it, 20, at_once=2, stream=True) == {200: 20}


@pytest.mark.parametrize(
    ("fault", "streams"),
    [
        ("stall-before-headers", False),
        ("stall-before-headers", True),
        ("stall-before-content", True),
        ("stall-after=2", True),
    ],
)
async def test_a_client_says_how_long_it_waits(fault: str, streams: bool, direct: bool) -> None:
    async with three(fault, direct=direct) as it:
        began_s = time.monotonic()
        answer = await post(it, {"x-request-timeout-ms": "250"}, stream=streams)
        took_s = time.monotonic() - began_s
        await it.settled()
    if answer.status_code == 200:
        assert b"deadline_exceeded" in answer.content
        assert streams
        assert not answer.content.endswith(b"[DONE]\n\n")
    else:
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert 0.2 <= took_s < 3
    (line,) = it.log.requests
    assert line["error_code"] == "deadline_exceeded"


async def test_a_client_cannot_wait_longer_than_the_model_allows() -> None:
    async with a_gateway(SLOW, model={"timeouts": {"total_s": 0.2}}) as it:
        answer = await post(it, {"x-request-timeout-ms": "60000"}, max_tokens=200)
        await it.settled()
    assert answer.status_code == 504


@pytest.mark.parametrize("given", ["0", "-1", "soon", "1.5", "99999999999", ""])
async def test_a_time_that_is_none_is_refused(given: str, direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        answer = await post(it, {"x-request-timeout-ms": given})
    assert answer.status_code == 400
    assert "x-request-timeout-ms" in answer.json()["error"]["message"]


async def test_no_wait_begins_that_would_end_after_the_deadline() -> None:
    rules = {"backoff_s": 60, "max_backoff_s": 300}
    async with three("status=500", retries=rules) as it:
        began_s = time.monotonic()
        answer = await post(it, {"x-request-timeout-ms": "500"})
        await it.settled()
        took_s = time.monotonic() - began_s
    # the failure itself is told, and at once: nearly all waits would be too long
    assert answer.status_code in (502, 504)
    assert took_s < 3
