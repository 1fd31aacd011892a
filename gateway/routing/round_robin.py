"""Every replica in turn, heavier ones more often."""

import random
from collections.abc import Sequence

from gateway.routing.policy import View


class RoundRobin:
    """Policy `round-robin`: the turns are counted with the replica, so there is nothing to keep."""

    def pick(self, replicas: Sequence[View], rng: random.Random) -> View:
        return min(replicas, key=lambda replica: replica.turns + 1 / replica.weight)
