import math

import pytest

from gateway.engines.adapter import Load
from gateway.errors import EngineDraining, EngineFault
from gateway.fleet.catalog import Variant
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.fleet.waking import REMEMBERED_S, Wanted, demands, is_away
from tests.support.configs import a_catalog, a_model, a_variant


def a_fleet(**more: object) -> tuple[FleetState, Variant]:
    variant = a_variant("fp8", "http://a", "http://b", **more)
    fleet = FleetState(a_catalog(a_model("m", variants=[variant])))
    return fleet, fleet.catalog.models["m"].variants[0]


def all_are(fleet: FleetState, condition: Condition) -> None:
    for state in fleet:
        for _ in range(2):
            fleet.probed(state, condition, Load(), 0.0)


@pytest.mark.parametrize(
    ("condition", "away"),
    [
        (Condition.AWAY, True),
        (Condition.ASLEEP, True),
        (Condition.LOADING, True),
        (Condition.UNHEALTHY, True),
        (Condition.MISCONFIGURED, False),
        (Condition.READY, False),
    ],
)
def test_a_variant_is_away_when_waiting_for_its_engines_may_help(
    condition: Condition, away: bool
) -> None:
    fleet, variant = a_fleet(wake={})
    all_are(fleet, condition)
    assert is_away(fleet, variant) is away


def test_it_is_not_while_one_replica_can_be_used_or_it_may_not_wake() -> None:
    fleet, variant = a_fleet(wake={})
    all_are(fleet, Condition.AWAY)
    fleet.probed(next(iter(fleet)), Condition.READY, Load(), 0.0)
    assert not is_away(fleet, variant)
    fleet, variant = a_fleet()
    all_are(fleet, Condition.UNHEALTHY)
    assert not is_away(fleet, variant)


def test_one_that_is_not_served_any_more_is_not_waited_for() -> None:
    fleet, variant = a_fleet(wake={})
    all_are(fleet, Condition.AWAY)
    fleet.apply(a_catalog(a_model("other")))
    assert not is_away(fleet, variant)


def test_engines_that_shut_down_are_on_their_way_out_and_those_that_fail_are_not() -> None:
    fleet, variant = a_fleet(wake={})
    for state in fleet:
        fleet.observed(Lease(state), EngineDraining("x"), 0.0)
    assert is_away(fleet, variant)
    fleet, variant = a_fleet(wake={})
    for state in fleet:
        for _ in range(5):
            fleet.observed(Lease(state), EngineFault("x"), 0.0)
    assert not is_away(fleet, variant)


def test_what_was_wanted_is_remembered_for_a_while() -> None:
    _, variant = a_fleet(wake={})
    wanted = Wanted()
    assert wanted.demand(variant.name, 0, 5.0) == 0
    assert wanted.last_s(variant.name) == -math.inf
    wanted.want(variant, 5.0)
    assert wanted.last_s(variant.name) == 5.0
    assert wanted.demand(variant.name, 0, 5.0 + REMEMBERED_S) == 1
    assert wanted.demand(variant.name, 7, 5.0 + REMEMBERED_S) == 7
    assert wanted.demand(variant.name, 0, 5.1 + REMEMBERED_S) == 0
    assert wanted.last_s(variant.name) == -math.inf


def test_demands_are_told_for_what_may_wake_also_when_there_is_none() -> None:
    variants = [a_variant("a", wake={}), a_variant("b"), a_variant("c", wake={})]
    fleet = FleetState(a_catalog(a_model("m", variants=variants)))
    told = demands(fleet, {"m:a": 3, "m:c": 0}.__getitem__, Wanted(), 0.0)
    assert list(told) == [(("m", "m:a"), 3.0), (("m", "m:c"), 0.0)]
