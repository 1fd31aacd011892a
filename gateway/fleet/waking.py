"""Variants whose engines are away and may come back: which, and who wants them. Pure.

A call that finds such a variant away wants it, whether it waits for it or goes elsewhere. That
is remembered for a minute: whoever starts engines looks every few seconds only, and a client
that has left by then will try again.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

from gateway.fleet.catalog import Variant
from gateway.fleet.health import Condition
from gateway.fleet.state import FleetState

REMEMBERED_S: Final = 60.0
# others say that an engine is there, and answers wrongly: waiting would not help
_MAY_COME_BACK: Final = (
    Condition.AWAY,
    Condition.ASLEEP,
    Condition.LOADING,
    Condition.UNHEALTHY,
    Condition.DRAINING,
)


def is_away(fleet: FleetState, variant: Variant) -> bool:
    """Whether no engine of the variant can take a call, and one may be waited for."""
    name = variant.engines.name
    if variant.wake is None or not fleet.serves(name):
        return False
    states = fleet.replicas_of(name)
    return all(not one.is_usable and one.condition in _MAY_COME_BACK for one in states)


class Wanted:
    """When calls last wanted variants that were away."""

    __slots__ = ("_last_s",)

    def __init__(self) -> None:
        self._last_s: dict[str, float] = {}

    def want(self, variant: Variant, now_s: float) -> None:
        self._last_s[variant.name] = now_s

    def last_s(self, variant: str) -> float:
        """When it was wanted last, by its name; minus infinity: not lately."""
        return self._last_s.get(variant, -math.inf)

    def demand(self, variant: str, waiting: int, now_s: float) -> int:
        """How many calls wait for it, and at least 1 while it was wanted lately."""
        last_s = self._last_s.get(variant)
        if last_s is not None and now_s - last_s > REMEMBERED_S:
            del self._last_s[variant]
            last_s = None
        return max(waiting, int(last_s is not None))


def demands(
    fleet: FleetState, waiting: Callable[[str], int], wanted: Wanted, now_s: float
) -> Iterator[tuple[tuple[str, str], float]]:
    """The demand for every variant that may wake, by model and variant."""
    for model in fleet.catalog.models.values():
        for variant in model.variants:
            if variant.wake is not None and variant.of is None:
                demand = wanted.demand(variant.name, waiting(variant.name), now_s)
                yield (model.name, variant.name), float(demand)
