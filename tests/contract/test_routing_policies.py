"""What every routing policy keeps, so that a new one is tested by being registered."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.routing import POLICIES
from gateway.wire.prefix import NO_PREFIX, Prefix
from tests.support.configs import AView, a_catalog
from tests.support.views import prefixes, views

pytestmark = pytest.mark.parametrize("name", POLICIES)


@given(views(), prefixes(), st.integers())
def test_the_pick_is_one_of_the_candidates(
    name: str, replicas: list[AView], prefix: Prefix, seed: int
) -> None:
    picked = POLICIES[name]().pick(replicas, prefix, random.Random(seed))
    assert any(picked is replica for replica in replicas)


def test_an_only_candidate_is_picked(name: str) -> None:
    only = AView(load=99, kv_cache_used_ratio=1.0)
    assert POLICIES[name]().pick([only], NO_PREFIX, random.Random(0)) is only


@given(views(), prefixes(), st.integers())
def test_nothing_is_changed_by_picking(
    name: str, replicas: list[AView], prefix: Prefix, seed: int
) -> None:
    before = [replace(replica) for replica in replicas]
    POLICIES[name]().pick(replicas, prefix, random.Random(seed))
    assert replicas == before


@given(views(), prefixes(), st.integers())
def test_the_same_chance_picks_the_same(
    name: str, replicas: list[AView], prefix: Prefix, seed: int
) -> None:
    policy = POLICIES[name]()
    first = policy.pick(replicas, prefix, random.Random(seed))
    assert policy.pick(replicas, prefix, random.Random(seed)) is first
    assert POLICIES[name]().pick(replicas, prefix, random.Random(seed)) is first, "no state is kept"


@given(views(), prefixes(), st.integers())
def test_a_sequence_that_cannot_be_changed_will_do(
    name: str, replicas: list[AView], prefix: Prefix, seed: int
) -> None:
    assert POLICIES[name]().pick(tuple(replicas), prefix, random.Random(seed)) in replicas


@given(views(), prefixes())
def test_scores_say_for_each_replica_what_its_cost_is_made_of(
    name: str, replicas: list[AView], prefix: Prefix
) -> None:
    scores = POLICIES[name]().scores(replicas, prefix)
    assert len(scores) == len(replicas)
    assert all(score.parts and math.isfinite(score.cost) for score in scores)


def test_an_idle_fleet_is_used_as_a_whole(name: str) -> None:
    replicas = [{"url": f"http://h{n}"} for n in range(4)]
    fleet = FleetState(a_catalog({"name": "m", "engine": "vllm", "replicas": replicas}))
    policy, rng = POLICIES[name](), random.Random(0)
    used = set()
    for _ in range(200):
        state = policy.pick(list(fleet), NO_PREFIX, rng)
        Lease(state).release()
        used.add(state.name)
    assert used == {"r0", "r1", "r2", "r3"}
