from gateway.api.readiness import Readiness
from gateway.engines.adapter import Load
from gateway.fleet.health import Condition
from gateway.fleet.state import FleetState
from gateway.limits.memory_store import MemoryStore
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.discoveries import a_discovered, discoveries
from tests.support.fake_clock import FakeClock


def test_nothing_is_promised_before_the_engines_were_asked() -> None:
    assert Readiness().reasons == ["starting: the engines have not been asked yet"]


def test_a_started_gateway_has_no_reason_to_refuse() -> None:
    assert Readiness(is_started=True).reasons == []


def test_draining_is_the_reason_however_far_the_start_was() -> None:
    for is_started in (True, False):
        readiness = Readiness(is_started=is_started, is_draining=True)
        assert readiness.reasons == ["draining: this gateway is shutting down"]


def test_a_refused_file_is_told_and_is_no_reason() -> None:
    readiness = Readiness(is_started=True, config_problems=("models: required",))
    fleet = FleetState(a_catalog())
    detail = readiness.detail(fleet, MemoryStore(FakeClock()), discoveries(fleet))
    assert detail["ready"] is True
    assert detail["config_problems"] == ["models: required"]
    assert detail["limits"] == {"store": "memory", "state": "ok"}


def test_a_model_is_ready_while_any_variant_has_a_usable_replica() -> None:
    fleet = FleetState(
        a_catalog(a_model("big", variants=[a_variant("fp8"), a_variant("awq")]), a_model("small"))
    )
    states = {state.variant.name: state for state in fleet}
    for name in ("big:fp8", "small"):
        fleet.probed(states[name], Condition.LOADING, Load(), 0.0)
    detail = Readiness(is_started=True).detail(fleet, MemoryStore(FakeClock()), discoveries(fleet))
    assert detail["models"] == {"big": "ready", "small": "no replica"}
    assert detail["ready"] is True


def test_a_model_whose_engines_may_be_away_is_not_without_replicas() -> None:
    fleet = FleetState(a_catalog(a_model("m", wake={}, adapters=[{"name": "sql"}])))
    (state,) = fleet
    fleet.probed(state, Condition.AWAY, Load(), 0.0)
    detail = Readiness(is_started=True).detail(fleet, MemoryStore(FakeClock()), discoveries(fleet))
    assert detail["models"] == dict.fromkeys(("m", "sql"), "away, a call wakes it")


def test_a_discovery_is_told_and_is_no_reason() -> None:
    fleet = FleetState(a_catalog(a_discovered()))
    detail = Readiness(is_started=True).detail(fleet, MemoryStore(FakeClock()), discoveries(fleet))
    assert detail["ready"] is True
    assert detail["models"] == {"m": "no replica"}
    assert detail["discovery"] == [
        {
            "variant": "m",
            "by": "dns",
            "state": "waiting",
            "reason": None,
            "age_s": None,
            "endpoints": {},
        }
    ]
