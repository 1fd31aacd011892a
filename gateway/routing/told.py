"""Why a request would go where it goes: what each replica would cost it, in order. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import Route
from gateway.wire.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Choice:
    """A replica that may answer. `parts` are what the policy's `cost` is made of."""

    variant: str
    policy: str
    replica: str
    url: str
    usable: bool
    cost: float
    parts: Mapping[str, float]


def choices(
    fleet: FleetState, policies: Mapping[str, RoutingPolicy], route: Route, prefix: Prefix
) -> list[Choice]:
    """Variant by variant in the order of the route; of each the cheapest usable replica first."""
    found: list[Choice] = []
    for variant in route:
        states = fleet.candidates(variant, (), only_usable=False)
        usable = [state for state in states if state.is_usable]
        away = [state for state in states if not state.is_usable]
        policy = policies[variant.policy]
        for some in (usable, away):
            if some:
                found += sorted(_scored(some, policy, prefix), key=lambda choice: choice.cost)
    return found


def _scored(states: list[ReplicaState], policy: RoutingPolicy, prefix: Prefix) -> Iterable[Choice]:
    for state, score in zip(states, policy.scores(states, prefix), strict=True):
        yield Choice(
            variant=state.variant.name,
            policy=state.variant.policy,
            replica=state.name,
            url=state.replica.url,
            usable=state.is_usable,
            cost=round(score.cost, 3),
            parts={name: round(value, 3) for name, value in score.parts.items()},
        )
