import pytest

from gateway.engines.adapter import Load
from gateway.fleet.health import Condition
from gateway.fleet.idleness import Idleness
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog

QUIET = Load(running=0, waiting=0, tokens_counted=100)


class Watched:
    """One engine, and how long it has been idle."""

    def __init__(self) -> None:
        self.fleet = FleetState(a_catalog())
        self.idleness = Idleness()

    @property
    def state(self) -> ReplicaState:
        return next(iter(self.fleet))

    def idle_s(
        self, now_s: float, load: Load = QUIET, condition: Condition = Condition.READY
    ) -> float:
        self.fleet.probed(self.state, condition, load, now_s)
        return self.idleness.idle_s(self.state, now_s)


def test_it_is_idle_since_it_was_first_seen_to_count_nothing_new() -> None:
    watched = Watched()
    assert [watched.idle_s(now_s) for now_s in (1.0, 2.0, 4.0, 9.0)] == [0.0, 0.0, 2.0, 7.0]


@pytest.mark.parametrize(
    ("load", "condition"),
    [
        (Load(running=1, waiting=0, tokens_counted=100), Condition.READY),
        (Load(running=0, waiting=1, tokens_counted=100), Condition.READY),
        (Load(running=0, waiting=0, tokens_counted=101), Condition.READY),
        (Load(running=0, waiting=0), Condition.READY),
        (Load(tokens_counted=100), Condition.READY),
        (QUIET, Condition.ASLEEP),
        (QUIET, Condition.LOADING),
    ],
)
def test_work_of_anybody_and_what_is_not_known_begin_it_anew(
    load: Load, condition: Condition
) -> None:
    watched = Watched()
    for now_s in (1.0, 2.0, 9.0):
        watched.idle_s(now_s)
    assert watched.idle_s(10.0, load, condition) == 0.0
    for now_s in (11.0, 12.0):
        watched.idle_s(now_s)
    assert watched.idle_s(13.0) <= 2.0


def test_a_request_of_ours_is_work_before_the_engine_has_counted_it() -> None:
    watched = Watched()
    for now_s in (1.0, 2.0, 9.0):
        watched.idle_s(now_s)
    lease = Lease(watched.state)
    assert watched.idleness.idle_s(watched.state, 10.0) == 0.0
    lease.release()
    assert watched.idleness.idle_s(watched.state, 11.0) == 0.0
    assert watched.idleness.idle_s(watched.state, 12.0) == 1.0
