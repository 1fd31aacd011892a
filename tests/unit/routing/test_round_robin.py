import random
from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.routing.round_robin import RoundRobin
from gateway.wire.prefix import NO_PREFIX
from tests.support.configs import a_catalog

RNG = random.Random(0)


def a_fleet(weights: list[float]) -> FleetState:
    replicas = [{"url": f"http://h{n}", "weight": weight} for n, weight in enumerate(weights)]
    return FleetState(a_catalog({"name": "m", "engine": "vllm", "replicas": replicas}))


def picks(fleet: FleetState, count: int) -> list[str]:
    names = []
    for _ in range(count):
        state = RoundRobin().pick(list(fleet), NO_PREFIX, RNG)
        Lease(state)
        names.append(state.name)
    return names


def test_equals_take_turns() -> None:
    assert picks(a_fleet([1, 1, 1]), 6) == ["r0", "r1", "r2", "r0", "r1", "r2"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5))
def test_after_whole_rounds_every_replica_had_its_share(weights: list[int], rounds: int) -> None:
    counts = Counter(picks(a_fleet([float(w) for w in weights]), rounds * sum(weights)))
    assert [counts[f"r{n}"] for n in range(len(weights))] == [rounds * w for w in weights]


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=6), st.integers(1, 100))
def test_nobody_is_ever_more_than_a_turn_ahead(weights: list[float], count: int) -> None:
    fleet = a_fleet(weights)
    picks(fleet, count)
    for one, other in combinations(fleet, 2):
        assert abs(one.turns - other.turns) <= max(1 / one.weight, 1 / other.weight)
