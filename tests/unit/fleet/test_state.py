import hashlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import Caller, IssuedRing, IssuedSecret, Plan
from gateway.engines.adapter import Load
from gateway.fleet.catalog import Catalog, Variant
from gateway.fleet.health import Condition
from gateway.fleet.state import FleetState, Lease, ReplicaState
from tests.support.configs import a_catalog, a_model, a_variant

READY = Condition.READY
OUT = Condition.LOADING
QUIET = Load()


def a_fleet_catalog(*urls: str, **more: Any) -> Catalog:
    return a_catalog(a_model("m", variants=[a_variant("fp8", *urls, **more)]))


def the_variant(catalog: Catalog) -> Variant:
    return catalog.models["m"].variants[0]


def a_fleet(*urls: str) -> tuple[FleetState, list[ReplicaState]]:
    fleet = FleetState(a_fleet_catalog(*urls or ("http://a", "http://b")))
    return fleet, list(fleet)


def test_every_replica_of_every_variant_has_a_state() -> None:
    variants = [a_variant("fp8", "http://a", "http://b"), a_variant("awq", "http://a")]
    fleet = FleetState(a_catalog(a_model("m", variants=variants), a_model("n")))
    assert [(state.variant.name, state.name) for state in fleet] == [
        ("m:fp8", "r0"),
        ("m:fp8", "r1"),
        ("m:awq", "r0"),
        ("n", "r0"),
    ]


def test_a_lease_counts_while_it_is_held() -> None:
    _, [state, _] = a_fleet()
    lease = Lease(state)
    assert state.in_flight == 1
    assert state.load == 1
    lease.release()
    assert state.in_flight == 0


def test_a_lease_is_released_once_however_often_it_is_asked() -> None:
    _, [state, _] = a_fleet()
    lease, other = Lease(state), Lease(state)
    lease.release()
    lease.release()
    assert state.in_flight == 1
    other.release()
    assert state.in_flight == 0


def test_a_heavier_replica_takes_more_leases_for_one_turn() -> None:
    replicas = [{"url": "http://a", "weight": 4}]
    fleet = FleetState(a_fleet_catalog(replicas=replicas))
    [state] = fleet
    Lease(state)
    assert state.turns == 0.25


@given(st.lists(st.booleans(), max_size=50))
def test_the_count_of_a_replica_is_its_open_leases(steps: list[bool]) -> None:
    _, [state, _] = a_fleet()
    open_leases: list[Lease] = []
    for take in steps:
        if take or not open_leases:
            open_leases.append(Lease(state))
        else:
            open_leases.pop().release()
        assert state.in_flight == len(open_leases)


def test_candidates_are_those_not_tried() -> None:
    fleet, [first, second] = a_fleet()
    variant = first.variant
    assert fleet.candidates(variant, (), only_usable=True) == [first, second]
    assert fleet.candidates(variant, {first}, only_usable=True) == [second]
    assert fleet.candidates(variant, {first, second}, only_usable=False) == []


def test_only_usable_candidates_unless_any_will_do() -> None:
    fleet, [first, second] = a_fleet()
    fleet.probed(first, OUT, QUIET)
    assert fleet.candidates(first.variant, (), only_usable=True) == [second]
    assert fleet.candidates(first.variant, (), only_usable=False) == [first, second]


def test_a_variant_is_usable_while_one_of_its_replicas_is() -> None:
    fleet, [first, second] = a_fleet()
    fleet.probed(first, OUT, QUIET)
    assert fleet.has_usable(first.variant)
    fleet.probed(second, OUT, QUIET)
    assert not fleet.has_usable(first.variant)


def test_a_variant_that_left_has_nobody() -> None:
    fleet, [first, _] = a_fleet()
    fleet.apply(a_catalog(a_model("other")))
    assert not fleet.has_usable(first.variant)
    assert fleet.candidates(first.variant, (), only_usable=False) == []


def test_a_probe_tells_whether_the_condition_has_changed() -> None:
    fleet, [state, _] = a_fleet()
    assert fleet.probed(state, READY, QUIET)
    assert not fleet.probed(state, READY, QUIET)
    assert not fleet.probed(state, Condition.UNHEALTHY, QUIET)
    assert fleet.probed(state, Condition.UNHEALTHY, QUIET)


@pytest.mark.parametrize(
    ("load", "ours", "others"),
    [
        (Load(running=5, waiting=2), 3, 4),
        (Load(running=5), 0, 5),
        (Load(waiting=2), 0, 2),
        (Load(running=1), 3, 0),
        (Load(), 3, 0),
    ],
)
def test_what_an_engine_reports_beyond_our_own_is_others(
    load: Load, ours: int, others: float
) -> None:
    fleet, [state, _] = a_fleet()
    for _ in range(ours):
        Lease(state)
    fleet.probed(state, READY, load)
    assert state.others == others
    assert state.load == ours + others


def test_what_an_engine_says_of_its_cache_is_kept_until_it_says_nothing() -> None:
    fleet, [state, _] = a_fleet()
    fleet.probed(state, READY, Load(kv_cache_used_ratio=0.5, kv_cache_tokens=1000))
    assert (state.kv_cache_used_ratio, state.kv_cache_tokens) == (0.5, 1000)
    fleet.probed(state, READY, QUIET)
    assert state.kv_cache_used_ratio is None


def test_a_replica_that_stays_keeps_its_numbers_and_takes_its_new_configuration() -> None:
    fleet, [state, _] = a_fleet("http://a", "http://b")
    lease = Lease(state)
    fleet.probed(state, READY, Load(kv_cache_used_ratio=0.5))
    changed = a_fleet_catalog(replicas=[{"url": "http://a:80/", "weight": 2, "name": "big"}])
    fleet.apply(changed)
    assert list(fleet) == [state]
    assert (state.name, state.weight, state.in_flight) == ("big", 2, 1)
    assert state.variant is the_variant(changed)
    assert fleet.catalog is changed
    lease.release()
    assert state.in_flight == 0


def test_a_replica_that_left_and_came_back_is_new() -> None:
    fleet, [state, _] = a_fleet("http://a", "http://b")
    Lease(state)
    fleet.apply(a_fleet_catalog("http://b"))
    fleet.apply(a_fleet_catalog("http://a", "http://b"))
    assert state not in list(fleet)
    assert all(other.in_flight == 0 for other in fleet)


def test_a_newcomer_starts_level_with_the_busiest() -> None:
    fleet, [first, second] = a_fleet("http://a", "http://b")
    for _ in range(10):
        Lease(first)
        Lease(second)
    fleet.apply(a_fleet_catalog("http://a", "http://b", "http://c"))
    assert [state.turns for state in fleet] == [10, 10, 10]


def test_a_replica_that_comes_back_starts_level_with_the_busiest() -> None:
    fleet, [first, second] = a_fleet()
    fleet.probed(second, OUT, QUIET)
    for _ in range(10):
        Lease(first)
    fleet.probed(second, READY, QUIET)
    assert second.turns == 10


def test_one_turn_behind_is_no_reason_to_lose_it() -> None:
    fleet, [first, second] = a_fleet()
    Lease(first)
    fleet.apply(fleet.catalog)
    assert (first.turns, second.turns) == (1, 0)


def test_keys_made_at_run_time_are_served_and_the_numbers_stay() -> None:
    fleet, (first, _) = a_fleet()
    lease = Lease(first)
    caller = Caller("team", Plan("p", ("*",)))
    digest = hashlib.sha256(b"sk").digest()
    ring = IssuedRing({digest: IssuedSecret(caller, math.inf)}, lambda: 0.0, is_known=True)
    fleet.serve_issued(ring)
    assert fleet.catalog.keys.caller(b"Bearer sk") is caller
    assert first.in_flight == 1
    assert next(iter(fleet)) is first
    lease.release()
