"""The replica with the least load for its weight; among equals, the one whose turn it is.

Load is our own requests in flight plus what the engine reports beyond them; a nearly full KV
cache counts as load, since vLLM then preempts and recomputes.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from gateway.routing.policy import Score, View
from gateway.wire.prefix import Prefix

# how many requests a completely full KV cache weighs
KV_CACHE_LOAD = 4.0


class LeastLoaded:
    """Policy `least-loaded`."""

    reads_prefix: ClassVar[bool] = False

    def pick(self, replicas: Sequence[View], prefix: Prefix, rng: random.Random) -> View:
        if len(replicas) == 1:
            return replicas[0]
        return min(replicas, key=lambda replica: (cost(replica), replica.turns))

    def scores(self, replicas: Sequence[View], prefix: Prefix) -> list[Score]:
        return [score(replica) for replica in replicas]


def score(replica: View) -> Score:
    """The cost, and what it is made of."""
    full = KV_CACHE_LOAD * (replica.kv_cache_used_ratio or 0.0)
    return Score(cost(replica), {"requests": replica.load, "kv_cache": full})


def cost(replica: View) -> float:
    """Load per weight."""
    return (replica.load + KV_CACHE_LOAD * (replica.kv_cache_used_ratio or 0.0)) / replica.weight
