"""vLLMs that sleep while nobody calls, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from gateway.fleet.replica_state import ReplicaState
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.running import FAST, Running, running, until

PATH = "/v1/chat/completions"
SLEEPY = replace(FAST, wake_s=0.2)
ENOUGH_S = 30.0
pytestmark = pytest.mark.timeout(90)


def chat(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hi"}]
    return {"model": "m", "messages": messages, "max_tokens": 4} | more


def a_document(engine: SimulatedEngine, **wake: Any) -> dict[str, Any]:
    variant = {
        "engine": "vllm",
        "served_model": "sim",
        "replicas": [{"url": engine.url}],
        "wake": {"method": "vllm-sleep", **wake},
    }
    return {"models": [{"name": "m", "variants": [variant]}]}


async def send(it: Running, statuses: list[int], **more: Any) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(it.url + PATH, json=chat(**more))
    statuses.append(answer.status_code)


def told(engine: SimulatedEngine, path: str) -> int:
    return len([one for one in engine.requests if one.path == path])


def the_replica(it: Running) -> ReplicaState:
    (state,) = it.gateway.inference.exchange.fleet
    return state


@asynccontextmanager
async def asleep(options: EngineOptions = SLEEPY) -> AsyncIterator[tuple[Running, SimulatedEngine]]:
    """A gateway whose engine sleeps already."""
    async with serve_engine(options) as engine:
        engine.is_asleep = True
        async with running(a_document(engine), [engine]) as it:
            assert the_replica(it).condition == "asleep"
            yield it, engine
            await it.settled()


async def test_calls_wake_an_engine_that_sleeps_once_and_wait_for_it() -> None:
    async with asleep() as (it, engine):
        statuses: list[int] = []
        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(partial(send, it, statuses, stream=number % 2 == 0))
        assert statuses == [200] * 6
        assert told(engine, "/wake_up") == 1
        assert told(engine, "/sleep") == 0


async def test_an_engine_that_cannot_be_woken_is_told_again_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with asleep(replace(SLEEPY, has_sleep_mode=False)) as (it, engine):
        statuses: list[int] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, it, statuses)
            await until(lambda: "sleep_mode_failed" in caplog.text, within_s=ENOUGH_S)
            engine.is_asleep = False  # somebody else has woken it
        assert statuses == [200]
        (record,) = [one for one in caplog.records if one.message == "sleep_mode_failed"]
        assert record.__dict__["reason"] == "status 404: needs VLLM_SERVER_DEV_MODE=1"


async def test_an_engine_that_has_nothing_to_do_is_put_to_sleep_and_woken_by_any_gateway() -> None:
    async with serve_engine(SLEEPY) as engine:
        document = a_document(engine, sleep_after_s=5)
        async with running(document) as first, running(document) as second:
            statuses: list[int] = []
            await send(first, statuses)
            await until(lambda: engine.is_asleep, within_s=ENOUGH_S)
            seen = [the_replica(it) for it in (first, second)]
            await until(lambda: all(one.condition == "asleep" for one in seen), within_s=ENOUGH_S)
            for it in (second, first):
                await send(it, statuses)
            assert statuses == [200] * 3


async def test_a_request_that_meets_an_engine_as_it_falls_asleep_wakes_it() -> None:
    async with serve_engine(SLEEPY) as engine, running(a_document(engine), [engine]) as it:
        statuses: list[int] = []
        engine.is_asleep = True  # and the gateway has not noticed
        assert the_replica(it).is_usable
        await send(it, statuses)
        assert statuses == [200]
        assert told(engine, "/wake_up") >= 1
