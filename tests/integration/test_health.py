"""Replicas that hang, flap, drain, sleep or serve another model: who gets requests, and when."""

import time
from typing import Any

import anyio
import httpx
import pytest

from gateway.fleet.replica_state import ReplicaState
from gateway.simulator.options import EngineOptions
from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, a_gateway, until

PATH = "/v1/chat/completions"
ADMIN = {"GATEWAY_ADMIN_KEY": "the-admin-key"}
IMPATIENT = {"timeouts": {"first_byte_s": 0.2, "idle_s": 5, "total_s": 20}}
ELSEWHERE = {"max_attempts": 3, "backoff_s": 0, "after_timeout": True}
SHORT = {"ejection_s": 2}
PROBED_S = 10.0


def states(it: Running) -> list[ReplicaState]:
    return list(it.gateway.inference.exchange.fleet)


def seen(it: Running, number: int) -> int:
    """Requests that an engine got."""
    return sum(request.path == PATH for request in it.engines[number].requests)


async def ask(it: Running, many: int = 1) -> list[int]:
    """The statuses of streamed calls, one after another."""
    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 3}
    async with httpx.AsyncClient(timeout=20) as client:
        return [
            (await client.post(it.url + PATH, json=body | {"stream": True})).status_code
            for _ in range(many)
        ]


async def ask_at_once(it: Running, many: int) -> list[int]:
    statuses: list[int] = []

    async def one() -> None:
        statuses.extend(await ask(it))

    async with anyio.create_task_group() as group:
        for _ in range(many):
            group.start_soon(one)
    return statuses


async def shown(it: Running) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.get(
            it.url + "/admin/fleet", headers={"authorization": "Bearer the-admin-key"}
        )
    replicas: list[dict[str, Any]] = answer.json()["replicas"]
    return replicas


async def metrics(it: Running) -> str:
    async with httpx.AsyncClient(timeout=20) as client:
        return (await client.get(it.url + "/metrics")).text


async def test_a_hanging_replica_whose_health_stays_200_is_ejected_and_comes_back() -> None:
    async with a_gateway(
        FAST, FAST, environ=ADMIN, model=IMPATIENT, retries=ELSEWHERE, health=SHORT
    ) as it:
        hanging, _ = states(it)
        it.engines[0].inject("stall-before-headers")
        assert await ask_at_once(it, 8) == [200] * 8
        await it.settled()
        assert hanging.condition == "ejected"
        assert hanging.health.probed == "ready"
        replica, _ = await shown(it)
        assert (replica["condition"], replica["reason"]) == ("ejected", "consecutive_timeouts")
        assert replica["ejected_until"] - time.time() < 2
        before = seen(it, 0)
        assert await ask(it, 3) == [200] * 3
        assert seen(it, 0) == before
        it.engines[0].clear_faults()
        await until(lambda: hanging.condition == "trial", within_s=10)
        assert await ask(it, 4) == [200] * 4
        await it.settled()
        assert hanging.condition == "ready"
        assert seen(it, 0) > before
        text = await metrics(it)
    for state, reason in (
        ("ejected", "consecutive_timeouts"),
        ("trial", "ejection_over"),
        ("ready", "trial_passed"),
    ):
        assert f'reason="{reason}",replica="{hanging.name}",state="{state}"' in text


async def test_a_replica_that_goes_on_hanging_costs_clients_nothing_more() -> None:
    async with a_gateway(
        FAST, FAST, model=IMPATIENT, retries=ELSEWHERE, health={"ejection_s": 0.2}
    ) as it:
        it.engines[0].inject("stall-before-headers")
        hanging, _ = states(it)
        with anyio.fail_after(25):
            while hanging.health.ejections < 3:
                assert await ask(it) == [200]
                await anyio.sleep(0.01)
        # two that ejected it; then our own, after 0.2 and 0.4 s
        own = sum(request.path == "/v1/completions" for request in it.engines[0].requests)
        assert seen(it, 0) == 2
        assert 1 <= own <= 3


async def test_a_flapping_replica_makes_no_storm() -> None:
    async with a_gateway(
        FAST, FAST, model=IMPATIENT, retries=ELSEWHERE, health={"ejection_s": 0.3}
    ) as it:

        async def flap() -> None:
            while True:
                it.engines[0].inject("reset-before-headers")
                await anyio.sleep(0.3)
                it.engines[0].clear_faults()
                await anyio.sleep(0.1)

        statuses: list[int] = []
        async with anyio.create_task_group() as group:
            group.start_soon(flap)
            with anyio.move_on_after(4):
                while True:
                    statuses += await ask_at_once(it, 4)
            group.cancel_scope.cancel()
        await it.settled()
        attempts = sum(line["attempts"] for line in it.log.requests)
    assert set(statuses) == {200}
    assert attempts <= 1.2 * len(statuses) + 5


@pytest.mark.parametrize("fault", ["stall-before-headers", "status=500"])
async def test_a_brown_out_of_all_ejects_nobody(fault: str) -> None:
    async with a_gateway(FAST, FAST, FAST, model=IMPATIENT, health=SHORT) as it:
        for engine in it.engines:
            engine.inject(fault)
        assert not {200} & set(await ask_at_once(it, 30))
        await it.settled()
        assert [state.health.ejection for state in states(it)] == [None] * 3
        for engine in it.engines:
            engine.clear_faults()
        assert await ask(it, 3) == [200] * 3


async def test_the_last_one_is_never_ejected() -> None:
    async with a_gateway(model=IMPATIENT, health=SHORT) as it:
        it.engine.inject("status=500")
        assert await ask(it, 12) == [502] * 12
        (state,) = states(it)
        assert (state.condition, state.record.failures) == ("ready", 12)
        assert state.is_usable


async def test_a_draining_vllm_gets_no_new_requests_though_its_health_is_200() -> None:
    async with a_gateway(FAST, FAST, retries=ELSEWHERE, health={"ejection_s": 60}) as it:
        draining, _ = states(it)
        it.engines[0].is_draining = True
        assert await ask(it, 6) == [200] * 6
        assert draining.condition == "draining"
        assert seen(it, 0) == 1
        async with httpx.AsyncClient() as client:
            assert (await client.get(it.engines[0].url + "/health")).status_code == 200


async def test_a_sleeping_vllm_is_left_alone_until_it_wakes() -> None:
    async with a_gateway(FAST, FAST) as it:
        sleeping, _ = states(it)
        it.engines[0].is_asleep = True
        await until(lambda: sleeping.condition == "asleep", within_s=PROBED_S)
        assert await ask(it, 4) == [200] * 4
        assert seen(it, 0) == 0
        it.engines[0].is_asleep = False
        await until(lambda: sleeping.condition == "ready", within_s=PROBED_S)


async def test_a_replica_that_serves_another_model_is_misconfigured() -> None:
    other = EngineOptions(models=("other",))
    async with a_gateway(FAST, other, environ=ADMIN) as it:
        _, replica = await shown(it)
        assert (replica["condition"], replica["reason"]) == ("misconfigured", "model_missing")
        assert await ask(it, 4) == [200] * 4
        assert seen(it, 1) == 0
