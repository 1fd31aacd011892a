from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.proxy.budget import WINDOW_S
from gateway.proxy.onsets import Onsets
from tests.support.configs import a_catalog, a_model, a_variant


def two() -> tuple[ReplicaState, ReplicaState]:
    variant = a_variant("fp8", "http://a.test:80", "http://b.test:80")
    a, b = FleetState(a_catalog(a_model(variants=[variant])))
    return a, b


def test_what_ran_when_failures_began_was_caught() -> None:
    a, _ = two()
    onsets = Onsets()
    assert onsets.caught(a, began_s=95.0, now_s=100.0)
    assert onsets.caught(a, began_s=99.9, now_s=100.2)


def test_what_began_on_a_replica_that_fails_was_not() -> None:
    a, b = two()
    onsets = Onsets()
    onsets.caught(a, began_s=95.0, now_s=100.0)
    assert not onsets.caught(a, began_s=100.0, now_s=100.1)
    assert onsets.caught(b, began_s=100.0, now_s=100.1), "each for itself"


def test_a_replica_that_goes_on_failing_catches_nothing_more() -> None:
    a, _ = two()
    onsets = Onsets()
    onsets.caught(a, began_s=0.0, now_s=1.0)
    for second in range(2, 60, 5):
        assert not onsets.caught(a, began_s=second - 0.5, now_s=float(second))


def test_after_a_quiet_window_it_begins_anew() -> None:
    a, b = two()
    onsets = Onsets()
    onsets.caught(a, began_s=0.0, now_s=1.0)
    onsets.caught(b, began_s=0.0, now_s=2.0)
    assert not onsets.caught(a, began_s=1.0, now_s=1.0 + WINDOW_S / 2)
    later_s = 1.0 + WINDOW_S * 1.5
    assert onsets.caught(a, began_s=later_s - 1, now_s=later_s)
    assert list(onsets._times) == [a], "what is long over is forgotten"
