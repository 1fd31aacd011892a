"""Every replica in turn, heavier ones more often."""

import random
from collections.abc import Sequence
from typing import ClassVar

from gateway.routing.policy import Score, View
from gateway.wire.prefix import Prefix


class RoundRobin:
    """Policy `round-robin`: the turns are counted with the replica, so there is nothing to keep."""

    reads_prefix: ClassVar[bool] = False

    def pick(self, replicas: Sequence[View], prefix: Prefix, rng: random.Random) -> View:
        return min(replicas, key=_next_turn)

    def scores(self, replicas: Sequence[View], prefix: Prefix) -> list[Score]:
        return [Score(_next_turn(one), {"turns": one.turns}) for one in replicas]


def _next_turn(replica: View) -> float:
    return replica.turns + 1 / replica.weight
