import pytest
from fastapi import APIRouter
from pydantic import SecretStr

from gateway.api.operations import fleet_router, operations_router
from gateway.api.readiness import Readiness
from gateway.errors import EngineDraining, EngineFault
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.limits.memory_store import MemoryStore
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.negotiation import Format
from tests.support.asked_app import ask
from tests.support.configs import a_catalog
from tests.support.discoveries import a_discovered, discoveries
from tests.support.fake_clock import FakeClock
from tests.support.queues import a_queues


def a_store() -> MemoryStore:
    return MemoryStore(FakeClock())


def a_fleet() -> FleetState:
    return FleetState(a_catalog())


def an_operations_router(readiness: Readiness, metrics: Metrics | None = None) -> APIRouter:
    fleet = a_fleet()
    return operations_router(readiness, fleet, a_store(), metrics or Metrics(), discoveries(fleet))


async def test_health_is_a_200_whatever_happens() -> None:
    router = an_operations_router(Readiness(is_draining=True))
    answer = await ask(router, path="/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("readiness", "status"), [(Readiness(), 503), (Readiness(is_started=True), 200)]
)
async def test_ready_says_whether_and_why_not(readiness: Readiness, status: int) -> None:
    router = an_operations_router(readiness)
    answer = await ask(router, path="/ready")
    assert answer.status_code == status
    assert answer.json()["ready"] is (status == 200)
    assert bool(answer.json()["reasons"]) is (status != 200)


async def test_whoever_asks_for_openmetrics_gets_it() -> None:
    metrics = Metrics()
    fleet = a_fleet()
    router = operations_router(Readiness(), fleet, a_store(), metrics, discoveries(fleet))
    kind = Format.OPENMETRICS
    answer = await ask(router, path="/metrics", headers={"accept": kind.value})
    assert answer.headers["content-type"] == kind.value
    assert answer.headers["vary"] == "accept"
    assert answer.content == metrics.render(kind)


async def test_metrics_are_in_prometheus_words() -> None:
    metrics = Metrics()
    router = an_operations_router(Readiness(), metrics)
    answer = await ask(router, path="/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.content == metrics.render()


@pytest.mark.parametrize(
    ("key", "given", "status"),
    [
        ("admin", "admin", 200),
        ("admin", "other", 401),
        ("admin", "admin2", 401),
        ("admin", "", 401),
        ("admin", None, 401),
        (None, "admin", 401),
        (None, "", 401),
        (None, None, 401),
        ("", "", 401),
    ],
)
async def test_the_fleet_is_shown_for_the_admin_key_alone(
    key: str | None, given: str | None, status: int
) -> None:
    fleet = a_fleet()
    router = fleet_router(
        fleet,
        a_queues(fleet),
        discoveries(fleet),
        FakeClock(),
        None if key is None else SecretStr(key),
    )
    answer = await ask(router, path="/admin/fleet", key=given)
    assert answer.status_code == status
    if status == 200:
        (replica,) = answer.json()["replicas"]
        (queue,) = answer.json()["queues"]
        assert queue.pop("away") is False
        assert queue == {"model": "m", "variant": "m", "waiting": 0, "max_waiting": 1000}
        assert (replica["concurrency_target"], replica["concurrency_basis"]) == (64, "adaptive")
        assert (replica["model"], replica["engine"], replica["in_flight"]) == ("m", "vllm", 0)
        assert replica["url"] == "http://m.test:8000"
        assert (replica["condition"], replica["reason"]) == ("unknown", None)
    else:
        assert "m.test" not in answer.text


async def test_an_ejected_replica_is_shown_with_its_reason_and_until_when() -> None:
    clock = FakeClock()
    fleet = FleetState(a_catalog())
    (state,) = fleet
    fleet.observed(Lease(state), None, clock.now_s())
    fleet.observed(Lease(state), EngineDraining("x"), clock.now_s())
    router = fleet_router(fleet, a_queues(fleet), discoveries(fleet), clock, SecretStr("k"))
    (shown,) = (await ask(router, path="/admin/fleet", key="k")).json()["replicas"]
    assert (shown["condition"], shown["reason"]) == ("draining", "engine_draining")
    assert shown["usable"] is shown["metrics_readable"] is False
    assert 27 <= shown["ejected_until"] - clock.unix_s() <= 30
    assert (shown["ejections"], shown["success_rate"]) == (1, None)
    clock.pass_s(30)
    fleet.tested(state, None, clock.now_s())
    fleet.observed(Lease(state), None, clock.now_s())
    fleet.observed(Lease(state), EngineFault("x"), clock.now_s())
    (shown,) = (await ask(router, path="/admin/fleet", key="k")).json()["replicas"]
    assert (shown["ejected_until"], shown["consecutive_failures"]) == (None, 1)
    assert (shown["success_rate"], shown["usable"]) == (0.5, True)


async def test_what_is_discovered_is_shown() -> None:
    fleet = FleetState(a_catalog(a_discovered()))
    router = fleet_router(
        fleet, a_queues(fleet), discoveries(fleet), FakeClock(), SecretStr("admin")
    )
    answer = await ask(router, path="/admin/fleet", key="admin")
    assert answer.json()["discovery"] == [
        {
            "model": "m",
            "variant": "m",
            "by": "dns",
            "looks_up": "dns vllm.test:8000",
            "state": "waiting",
            "reason": None,
            "updated": None,
            "endpoints": {},
        }
    ]
