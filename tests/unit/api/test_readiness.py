from gateway.api.readiness import Readiness
from gateway.fleet.health import Condition, Health
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog


def test_it_is_ready_once_started_and_until_it_drains() -> None:
    readiness = Readiness()
    assert [reason.split(":")[0] for reason in readiness.reasons] == ["starting"]
    readiness.is_started = True
    assert readiness.reasons == []
    readiness.is_draining = True
    assert [reason.split(":")[0] for reason in readiness.reasons] == ["draining"]


def test_engines_that_are_away_are_told_and_do_not_make_it_unready() -> None:
    fleet = FleetState(a_catalog())
    readiness = Readiness(is_started=True, config_problems=("models: none",))
    for state in fleet:
        state.health = Health(Condition.UNHEALTHY)
    assert readiness.detail(fleet) == {
        "ready": True,
        "reasons": [],
        "models": {"m": "no replica"},
        "config_problems": ["models: none"],
    }
    for state in fleet:
        state.health = Health(Condition.READY)
    assert readiness.detail(fleet)["models"] == {"m": "ready"}
