import random

import pytest
from hypothesis import given

from gateway.routing.least_loaded import KV_CACHE_LOAD, LeastLoaded, cost
from gateway.wire.prefix import NO_PREFIX
from tests.support.configs import AView
from tests.support.views import views

RNG = random.Random(0)


def pick(*replicas: AView) -> AView:
    return LeastLoaded().pick(replicas, NO_PREFIX, RNG)


@given(views())
def test_nobody_is_less_loaded_than_the_one_picked(replicas: list[AView]) -> None:
    assert cost(LeastLoaded().pick(replicas, NO_PREFIX, RNG)) == min(map(cost, replicas))


@given(views(min_size=2))
def test_among_equals_it_is_the_turn_of_the_one_picked_least(replicas: list[AView]) -> None:
    picked = LeastLoaded().pick(replicas, NO_PREFIX, RNG)
    equals = [replica for replica in replicas if cost(replica) == cost(picked)]
    assert picked.turns == min(replica.turns for replica in equals)


def test_a_heavier_replica_bears_more() -> None:
    heavy, light = AView("heavy", weight=4, load=6), AView("light", load=2)
    assert pick(light, heavy) is heavy


@pytest.mark.parametrize("unknown", [None, 0.0])
def test_a_full_cache_counts_as_load(unknown: float | None) -> None:
    full = AView("full", kv_cache_used_ratio=1.0)
    empty = AView("empty", load=KV_CACHE_LOAD - 0.1, kv_cache_used_ratio=unknown)
    busy = AView("busy", load=KV_CACHE_LOAD + 0.1, kv_cache_used_ratio=unknown)
    assert pick(full, empty) is empty
    assert pick(full, busy) is full
