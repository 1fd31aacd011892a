import random

import pytest

from gateway.auth.keys import Plan
from gateway.engines.adapter import Load
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.routing import POLICIES
from gateway.routing.asking import Asking
from gateway.routing.prefix_affinity import COMPUTE
from gateway.routing.resolve import resolve
from gateway.routing.told import Choice, choices
from gateway.wire.prefix import NO_PREFIX, Prefix
from tests.support.configs import a_catalog, a_model, a_variant

POLICIES_BY_NAME = {name: new() for name, new in POLICIES.items()}


def a_fleet() -> FleetState:
    variants = [a_variant("fp8", "http://a", "http://b"), a_variant("awq", "http://c")]
    return FleetState(a_catalog(a_model("m", variants=variants, policy="prefix-affinity")))


def told(fleet: FleetState, prefix: Prefix = NO_PREFIX) -> list[Choice]:
    route = resolve(fleet.catalog, "m", Asking(Plan("all", ("*",)), random.Random(0))).route
    return choices(fleet, POLICIES_BY_NAME, route, prefix)


def test_the_cheapest_replica_comes_first_and_the_next_variant_after_all_of_one() -> None:
    fleet = a_fleet()
    first = next(iter(fleet))
    Lease(first)
    found = told(fleet)
    assert [(one.variant, one.replica) for one in found] == [
        ("m:fp8", "r1"),
        ("m:fp8", "r0"),
        ("m:awq", "r0"),
    ]
    assert found[0].cost < found[1].cost
    assert found[1].parts["requests"] == 1


def test_it_tells_who_knows_the_prompt() -> None:
    fleet = a_fleet()
    prefix = Prefix((1, 2, 3), own_key=4)
    Lease(next(iter(fleet)), prefix).release()
    by_replica = {(one.variant, one.replica): one.parts["uncached"] for one in told(fleet, prefix)}
    assert by_replica["m:fp8", "r0"] == 0
    assert by_replica["m:fp8", "r1"] == pytest.approx(3 * COMPUTE)


def test_who_may_not_be_picked_comes_after_those_who_may() -> None:
    fleet = a_fleet()
    first = next(iter(fleet))
    for _ in range(3):
        fleet.probed(first, Condition.UNHEALTHY, Load(), 0.0)
    found = told(fleet)
    assert [(one.replica, one.usable) for one in found[:2]] == [("r1", True), ("r0", False)]
