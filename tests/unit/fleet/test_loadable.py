from dataclasses import dataclass, field

import pytest

from gateway.fleet.loadable import Adapter, Loadable, having

FIXED, FREE = Adapter("a"), Adapter("a", "/a")


@dataclass(slots=True)
class AReplica:
    adapters: Loadable = field(default_factory=Loadable)
    in_flight: int = 0
    most: int = 2


def with_adapters(*names: str, in_flight: int = 0) -> AReplica:
    replica = AReplica(in_flight=in_flight)
    replica.adapters.listed(names)
    return replica


def test_what_is_not_listed_is_taken_to_be_there() -> None:
    assert Loadable().has("a")


def test_what_is_listed_counts_and_what_was_loaded_counts_at_once() -> None:
    adapters = with_adapters("a").adapters
    assert adapters.has("a")
    assert not adapters.has("b")
    adapters.loaded("b")
    assert adapters.has("b")
    adapters.lost("b")
    adapters.listed(["a"])
    assert not adapters.has("b")


def test_only_what_has_a_path_may_be_loaded_and_not_soon_again_where_that_failed() -> None:
    adapters = with_adapters().adapters
    assert not adapters.may_load(FIXED)
    assert adapters.may_load(FREE)
    adapters.refused("a")
    assert not adapters.may_load(FREE)
    for _ in range(15):
        assert not adapters.may_load(FREE)
        adapters.listed([])
    assert adapters.may_load(FREE)


def test_one_that_is_there_may_be_used_whatever_failed_before() -> None:
    adapters = with_adapters().adapters
    adapters.refused("a")
    adapters.loaded("a")
    assert adapters.may_load(FIXED)


def test_the_least_recently_used_are_spared_first_and_never_one_in_use() -> None:
    adapters = with_adapters("started").adapters
    for name in ("a", "b", "c"):
        adapters.loaded(name)
    assert adapters.spare(4) == []
    assert adapters.spare(3) == ["a"]
    adapters.begin("a")
    assert adapters.spare(2) == ["b", "c"]
    adapters.begin("a")
    adapters.end("a")
    assert adapters.spare(1) == ["b", "c"]
    adapters.end("a")
    assert adapters.spare(1) == ["b", "c", "a"]
    adapters.listed(["a"])
    assert adapters.spare(1) == ["a"]


@pytest.mark.parametrize("adapter", [FIXED, FREE])
def test_calls_go_to_who_has_it_while_there_is_room(adapter: Adapter) -> None:
    one, other = with_adapters("a"), with_adapters()
    assert having([one, other], adapter) == [one]


def test_more_replicas_load_it_when_those_that_have_it_are_full() -> None:
    full, free, busy = (with_adapters("a", in_flight=2), with_adapters(), with_adapters())
    busy.in_flight = 2
    assert having([full, free, busy], FREE) == [free]
    assert having([full, free], FIXED) == [full]
    assert having([full, busy], FREE) == [full]
    assert having([busy], FREE) == [busy]
    assert having([busy], FIXED) == []
