from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.rendezvous import BOUND, home, mixed
from tests.support.configs import AView
from tests.support.views import views

KEYS = range(1, 3000)


def fleet(count: int, load: float = 0.0) -> list[AView]:
    return [AView(f"r{n}", seed=mixed(n + 1), load=load) for n in range(count)]


def test_keys_are_spread_evenly() -> None:
    counts = Counter(home(key, fleet(6)).name for key in KEYS)
    assert len(counts) == 6
    assert max(counts.values()) < 1.25 * len(KEYS) / 6


def test_twice_the_weight_is_the_home_of_twice_as_many() -> None:
    replicas = fleet(4)
    replicas[0] = replace(replicas[0], weight=2.0)
    counts = Counter(home(key, replicas).name for key in KEYS)
    assert 0.34 < counts["r0"] / len(KEYS) < 0.46


def test_who_leaves_moves_only_what_was_at_home_there() -> None:
    replicas = fleet(5)
    for key in KEYS:
        before = home(key, replicas)
        after = home(key, replicas[1:])
        assert before is after or before is replicas[0]


def test_the_order_of_the_replicas_does_not_matter() -> None:
    replicas = fleet(5)
    assert all(home(key, replicas).name == home(key, replicas[::-1]).name for key in KEYS)


def test_who_is_overloaded_is_nobodys_home_and_its_keys_stay_together() -> None:
    replicas = fleet(4, load=2.0)
    key = next(key for key in KEYS if home(key, replicas) is replicas[0])
    replicas[0] = replace(replicas[0], load=100.0)
    second = home(key, replicas)
    assert second is not replicas[0]
    assert home(key, replicas[1:]) is second


@given(views(), st.integers(0, 2**32 - 1))
def test_a_home_is_within_the_bound_where_anybody_is(replicas: list[AView], key: int) -> None:
    picked = home(key, replicas)
    share = BOUND * (1 + sum(one.load for one in replicas)) / sum(one.weight for one in replicas)
    is_within = picked.load + 1 <= share * picked.weight + 1
    assert is_within or all(one.load + 1 > share * one.weight for one in replicas)


@given(st.integers(0, 2**64 - 1))
def test_mixing_stays_within_64_bits(value: int) -> None:
    assert 0 <= mixed(value) < 2**64
