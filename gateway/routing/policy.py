"""How a replica is chosen: the Protocol that every policy keeps."""

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

from gateway.fleet.snapshot import ReplicaView

View = TypeVar("View", bound=ReplicaView)


class RoutingPolicy(Protocol):
    """Picks one of some replicas; never blocks, mutates or waits, and keeps no state."""

    def pick(self, replicas: Sequence[View], rng: random.Random) -> View:
        """`replicas` is not empty."""
        ...
