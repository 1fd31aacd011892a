"""Which of a model's variants takes the next call, as load has it. Pure.

The first that is within its thresholds; where none is, the one that is the least beyond them.
One that was beyond them takes calls again only when it is well within, so that calls do not go
to and fro.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.choice import Choose
from gateway.routing.resolve import Route

# the part of a threshold that one must be back within
CALM: Final = 0.75


@dataclass(frozen=True, slots=True)
class Strain:
    """How a variant is for the next call.

    `in_line`: calls that would wait for it, this one included; 0: there is room. `ttft_s`: until
    the first token, the wait included; None: nobody can say.
    """

    in_line: int = 0
    ttft_s: float | None = None
    is_usable: bool = True


def excess(strain: Strain, rules: Choose, *, was_over: bool) -> float:
    """0 within the thresholds, else how far it is to them or beyond; infinite: it cannot answer."""
    if not strain.is_usable:
        return math.inf
    part = CALM if was_over else 1.0
    waiting = rules.waiting
    if waiting is None and rules.ttft_s is None:
        waiting = 0
    most = 0.0
    if waiting is not None and strain.in_line > math.floor(waiting * part):
        most = strain.in_line / max(1, waiting)
    if rules.ttft_s is not None and strain.ttft_s is not None:
        ratio = strain.ttft_s / rules.ttft_s
        if ratio > part:
            most = max(most, ratio)
    return most


def by_excess(route: Route, excesses: Sequence[float]) -> Route:
    """The least strained of the first variants in front, up to the first within its thresholds.

    Those behind that one stay as they are: they need not be looked at.
    """
    count = excesses.index(0) + 1 if 0 in excesses else len(excesses)
    order = sorted(range(count), key=lambda n: excesses[n])
    return (*[route[n] for n in order], *route[count:])


def own(route: Route) -> Route:
    """The variants of the first one's model that come before any other's."""
    count = 0
    while count < len(route) and route[count].model == route[0].model:
        count += 1
    return route[:count]


def behind(route: Route, last: str) -> Route:
    """With a variant, by the name of its engines', behind the others of its model."""
    mine = own(route)
    late = [one for one in mine if one.engines.name == last]
    return (*[one for one in mine if one.engines.name != last], *late, *route[len(mine) :])
