from dataclasses import replace

import anyio
import pytest

from gateway.fleet import forgetting as module
from gateway.fleet.discovery.endpoint import Endpoint, Standing
from gateway.fleet.forgetting import forget, keep_forgetting
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.fleet.told import Teller
from gateway.telemetry.cells import SLOT_BYTES, Cells, SharedCells
from gateway.telemetry.departed import MOST, Departed
from gateway.telemetry.metrics import ROUTE, Metrics
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.discoveries import a_discovered
from tests.support.fake_clock import FakeClock
from tests.support.running import until


def serve_one_call(metrics: Metrics, route: tuple[str, str, str]) -> None:
    """All that an ordinary call on a replica records."""
    cells = metrics.route(route)
    cells.ttft.observe(0.1)
    cells.inter_token.observe(0.01)
    for tokens in (cells.input, cells.output, cells.cached):
        tokens.add()
    ended = metrics.ended(route, "ok")
    ended.requests.add()
    ended.duration.observe(1.0)
    metrics.attempts.cell(*route, "ok").add()


@pytest.fixture(params=["own", "shared"])
def cells(request: pytest.FixtureRequest) -> Cells | None:
    if request.param == "own":
        return None
    return SharedCells(memoryview(bytearray(SLOT_BYTES)), 0, FakeClock().now_s)


@pytest.mark.timeout(180)
def test_ten_thousand_pods_may_come_and_go(
    cells: Cells | None, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, clock, departed = Metrics(cells), FakeClock(), Departed()
    fleet = FleetState(a_catalog(a_discovered()), tell=Teller(metrics))
    metrics.level("gateway_in_flight", "x", ROUTE, lambda: [((*_route(fleet),), 1.0)])
    (variant,) = fleet.catalog.models["m"].variants
    for number in range(10_000):
        name = f"vllm-{number:05}"
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        fleet.found(variant, [variant.replica_at(Endpoint(name, address, 8000))])
        (state,) = fleet
        serve_one_call(metrics, ("m", "m", name))
        Teller(metrics)(state)
        if number % 20 == 0:
            metrics.tell_levels()
            clock.pass_s(10)
            forget(fleet, metrics, departed, clock.now_s())
    assert len(metrics.routes()) <= MOST + 21
    assert metrics.counted().requests["m", "m", "vllm-09999", "ok"] == 1
    assert ("m", "m", "vllm-00000", "ok") not in metrics.counted().requests
    assert not [line for line in caplog.records if line.getMessage() == "metrics_full"]
    assert len(list(fleet)) == 1


def _route(fleet: FleetState) -> tuple[str, str, str]:
    (state,) = fleet
    return state.variant.model, state.variant.name, state.name


def test_what_is_counted_again_begins_with_zeros(cells: Cells | None) -> None:
    metrics, route = Metrics(cells), ("m", "m", "a")
    serve_one_call(metrics, route)
    metrics.forget({route})
    assert metrics.routes() == set()
    assert b'replica="a"' not in metrics.render()
    serve_one_call(metrics, route)
    assert metrics.counted().requests == {(*route, "ok"): 1}


def test_a_replica_whose_request_still_runs_is_not_forgotten() -> None:
    metrics, departed = Metrics(), Departed(keep_s=0)
    fleet = FleetState(a_catalog(a_discovered()))
    (variant,) = fleet.catalog.models["m"].variants
    found = variant.replica_at(Endpoint("a", "10.0.0.1", 8000))
    fleet.found(variant, [found])
    (state,) = fleet
    serve_one_call(metrics, ("m", "m", "a"))
    lease = Lease(state)
    fleet.found(variant, [replace(found, standing=Standing.GONE)])
    forget(fleet, metrics, departed, 0.0)
    assert metrics.routes() == {("m", "m", "a")}
    assert state.condition is Condition.DRAINING
    lease.release()
    fleet.found(variant, [])
    forget(fleet, metrics, departed, 0.0)
    assert metrics.routes() == set()


async def test_it_is_looked_at_a_steady_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORGET_EVERY_S", 0.001)
    monkeypatch.setattr(module, "Departed", lambda: Departed(keep_s=0))
    metrics, fleet = Metrics(), FleetState(a_catalog())
    serve_one_call(metrics, ("m", "m", "gone"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_forgetting, fleet, metrics, FakeClock())
        await until(lambda: not metrics.routes(), 10)
        tasks.cancel_scope.cancel()


def test_what_adapters_were_asked_for_stays_as_long_as_the_replicas_that_have_them() -> None:
    metrics, clock, departed = Metrics(), FakeClock(), Departed()
    variant = a_variant("fp8", "http://a", adapters=[{"name": "sql"}])
    fleet = FleetState(a_catalog(a_model("m", variants=[variant])))
    kept = {("m", "m:fp8", "r0"), ("sql", "sql:fp8", "r0")}
    for route in (*kept, ("sql", "sql:fp8", "r9")):
        serve_one_call(metrics, route)
    for _ in range(2):
        forget(fleet, metrics, departed, clock.now_s())
        clock.pass_s(86_400)
    forget(fleet, metrics, departed, clock.now_s())
    assert metrics.routes() == kept
