"""How a replica is chosen: the Protocol that every policy keeps."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from gateway.fleet.snapshot import ReplicaView
from gateway.wire.prefix import Prefix

View = TypeVar("View", bound=ReplicaView)


@dataclass(frozen=True, slots=True)
class Score:
    """Why a replica is picked, or is not: the lowest cost is. `parts` are what it is made of."""

    cost: float
    parts: Mapping[str, float]


class RoutingPolicy(Protocol):
    """Picks one of some replicas; never blocks, mutates or waits, and keeps no state.

    `reads_prefix`: whether it wants to know what the prompt begins with, which costs some
    microseconds; otherwise it is given NO_PREFIX.
    """

    reads_prefix: ClassVar[bool]

    def pick(self, replicas: Sequence[View], prefix: Prefix, rng: random.Random) -> View:
        """`replicas` is not empty."""
        ...

    def scores(self, replicas: Sequence[View], prefix: Prefix) -> list[Score]:
        """One for each of the replicas, for people who ask why."""
        ...
