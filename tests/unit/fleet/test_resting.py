import pytest

from gateway.errors import (
    ConnectionLost,
    EngineDraining,
    EngineFault,
    EngineOverloaded,
    EngineUnreachable,
    GatewayError,
)
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.resting import Resting
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog, a_model, a_variant


def two() -> tuple[ReplicaState, ReplicaState]:
    variant = a_variant("fp8", "http://a.test:80", "http://b.test:80")
    a, b = FleetState(a_catalog(a_model(variants=[variant])))
    return a, b


def test_nobody_rests_at_first() -> None:
    assert not Resting().until_s
    assert not Resting().at(0.0)


def test_an_overloaded_replica_rests_for_as_long_as_it_said() -> None:
    a, b = two()
    resting = Resting()
    resting.failed(a, EngineOverloaded("x", retry_after_s=5.0), 100.0)
    assert a in resting.at(104.9)
    assert b not in resting.at(104.9)
    assert not resting.at(105.0)
    assert not resting.until_s, "what is over is forgotten"


@pytest.mark.parametrize("failure", [EngineOverloaded("x"), EngineDraining("x")])
def test_one_that_does_not_say_has_a_second(failure: GatewayError) -> None:
    a, _ = two()
    resting = Resting()
    resting.failed(a, failure, 100.0)
    assert a in resting.at(100.9)
    assert not resting.at(101.0)


def test_nobody_rests_for_an_hour_because_it_said_so() -> None:
    a, _ = two()
    resting = Resting()
    resting.failed(a, EngineOverloaded("x", retry_after_s=3600.0), 100.0)
    assert a in resting.at(159.0)
    assert not resting.at(160.0)


def test_a_shorter_word_does_not_end_a_longer_rest() -> None:
    a, _ = two()
    resting = Resting()
    resting.failed(a, EngineOverloaded("x", retry_after_s=9.0), 100.0)
    resting.failed(a, EngineOverloaded("x", retry_after_s=1.0), 101.0)
    assert a in resting.at(108.0)


@pytest.mark.parametrize("failure", [EngineFault("x"), ConnectionLost("x"), EngineUnreachable("x")])
def test_other_failures_ask_for_no_rest(failure: GatewayError) -> None:
    a, _ = two()
    resting = Resting()
    resting.failed(a, failure, 100.0)
    assert not resting.until_s


def test_those_that_asked_for_it_are_known_from_those_that_did_not() -> None:
    a, b = two()
    resting = Resting()
    resting.failed(a, EngineOverloaded("x"), 100.0)
    resting.failed(b, EngineOverloaded("x", retry_after_s=5.0), 100.0)
    assert set(resting.at(100.5)) == {a, b}
    assert set(resting.at(100.5, only_told=True)) == {b}
    assert not resting.at(105.0, only_told=True)
