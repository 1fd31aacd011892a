"""Engines are what httpx would meet: each test says what theirs answers."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest
import respx

from gateway.engines import ENGINES
from gateway.engines.adapter import Load
from gateway.fleet.health import Condition
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.prober import Prober
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.sleeper import SLEEP, WAKE, Sleeper
from gateway.fleet.state import FleetState
from gateway.fleet.waking import Wanted
from tests.support.configs import a_catalog, a_model
from tests.support.fake_clock import FakeClock
from tests.support.running import until

URL = "http://m.test:8000"
QUIET = Load(running=0, waiting=0, tokens_counted=100)


class Bench:
    """One vLLM that may sleep; `waiting` calls wait for it."""

    def __init__(self, clients: ProbeClients, **wake: Any) -> None:
        self.clock = FakeClock()
        model = a_model(wake={"method": "vllm-sleep", **wake}, api_key={"value": "k"})
        self.fleet = FleetState(a_catalog(model))
        self.wanted = Wanted()
        self.waiting = 0
        prober = Prober(self.fleet, ENGINES, clients, self.clock)
        self.sleeper = Sleeper(
            self.fleet, lambda _: self.waiting, self.wanted, prober, clients, self.clock
        )

    @property
    def state(self) -> ReplicaState:
        return next(iter(self.fleet))

    def is_seen(self, condition: Condition, load: Load = QUIET) -> None:
        self.fleet.probed(self.state, condition, load, self.clock.now_s())

    @property
    def due(self) -> list[str]:
        return [path for _, path in self.sleeper.due()]


@pytest.fixture
async def clients() -> AsyncIterator[ProbeClients]:
    async with ProbeClients() as clients:
        yield clients


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        router.get(URL + "/health").respond(200)
        router.get(URL + "/v1/models").respond(json={"data": [{"id": "m"}]})
        router.get(URL + "/metrics").respond(content=b"")
        yield router


async def test_one_that_sleeps_is_woken_for_calls_that_wait_or_went_elsewhere_or_are_there(
    clients: ProbeClients,
) -> None:
    bench = Bench(clients)
    variant = bench.state.variant
    bench.wanted.want(variant, bench.clock.now_s())  # before it slept
    bench.is_seen(Condition.ASLEEP)
    assert bench.due == []
    bench.waiting = 1
    assert bench.due == [WAKE]
    bench.waiting = 0
    lease = Lease(bench.state)
    assert bench.due == [WAKE]
    lease.release()
    assert bench.due == []
    bench.clock.pass_s(1.0)
    bench.wanted.want(variant, bench.clock.now_s())
    assert bench.due == [WAKE]


async def test_one_with_nothing_to_do_is_put_to_sleep_after_its_time(clients: ProbeClients) -> None:
    bench = Bench(clients, sleep_after_s=60)
    bench.is_seen(Condition.READY)
    assert bench.due == []
    assert bench.due == []
    bench.clock.pass_s(59.9)
    assert bench.due == []
    bench.clock.pass_s(0.2)
    assert bench.due == [SLEEP]
    bench.waiting = 1
    assert bench.due == []


async def test_without_a_time_it_is_never_put_to_sleep(clients: ProbeClients) -> None:
    bench = Bench(clients)
    bench.is_seen(Condition.READY)
    for _ in range(3):
        assert bench.due == []
        bench.clock.pass_s(1e6)


async def test_engines_that_do_not_sleep_are_left_alone(clients: ProbeClients) -> None:
    bench = Bench(clients)
    bench.fleet.apply(a_catalog(a_model(wake={})))
    bench.is_seen(Condition.ASLEEP)
    bench.waiting = 1
    assert bench.due == []


async def test_it_is_told_once_with_its_key_and_looked_at_again_at_once(
    clients: ProbeClients, router: respx.MockRouter
) -> None:
    bench = Bench(clients)
    bench.is_seen(Condition.ASLEEP)
    bench.waiting = 1
    told: list[httpx.Request] = []

    async def wake(request: httpx.Request) -> httpx.Response:
        told.append(request)
        assert bench.due == [], "while it is being told"
        return httpx.Response(200)

    router.post(URL + WAKE).mock(side_effect=wake)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.sleeper.run)
        await until(lambda: bench.state.condition is Condition.READY, within_s=20)
        tasks.cancel_scope.cancel()
    assert [one.headers["authorization"] for one in told] == ["Bearer k"]


async def test_nothing_is_sent_to_one_that_is_being_put_to_sleep(
    clients: ProbeClients, router: respx.MockRouter
) -> None:
    bench = Bench(clients, sleep_after_s=60)
    bench.is_seen(Condition.READY)
    assert bench.due == bench.due == []
    bench.clock.pass_s(61)
    seen: list[bool] = []

    async def sleep(_: httpx.Request) -> httpx.Response:
        seen.append(bench.state.is_usable)
        router.get(URL + "/metrics").respond(
            content=b'vllm:engine_sleep_state{sleep_state="weights_offloaded"} 1\n'
        )
        return httpx.Response(200)

    router.post(URL + SLEEP).mock(side_effect=sleep)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.sleeper.run)
        await until(lambda: bool(seen), within_s=20)
        await until(lambda: bench.due == [], within_s=20)
        tasks.cancel_scope.cancel()
    assert seen == [False]
    assert bench.state.condition is Condition.ASLEEP


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.Response(404), "status 404: needs VLLM_SERVER_DEV_MODE=1"),
        (httpx.Response(500), "status 500"),
        (httpx.ConnectError("x"), "ConnectError"),
    ],
)
async def test_why_it_did_not_is_logged(
    clients: ProbeClients,
    router: respx.MockRouter,
    caplog: pytest.LogCaptureFixture,
    answer: httpx.Response | Exception,
    why: str,
) -> None:
    bench = Bench(clients)
    bench.is_seen(Condition.ASLEEP)
    bench.waiting = 1
    router.post(URL + WAKE).mock(side_effect=[answer])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.sleeper.run)
        await until(lambda: bool(caplog.records), within_s=20)
        tasks.cancel_scope.cancel()
    failed = [one for one in caplog.records if one.message == "sleep_mode_failed"]
    assert [one.__dict__["reason"] for one in failed] == [why]


async def test_one_that_is_gone_is_forgotten(clients: ProbeClients) -> None:
    bench = Bench(clients)
    bench.is_seen(Condition.ASLEEP)
    assert bench.due == []
    assert list(bench.sleeper._asleep_since_s) == [bench.state]
    bench.fleet.apply(a_catalog(a_model("other")))
    assert bench.due == []
    assert bench.sleeper._asleep_since_s == {}
