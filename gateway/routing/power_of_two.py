"""The less loaded of two replicas drawn at random.

Almost as even as asking all, and many gateways that see the same figures do not all run to the
same replica.

Source: Mitzenmacher, "The power of two choices in randomized load balancing" (2001).
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from gateway.routing.least_loaded import cost, score
from gateway.routing.policy import Score, View
from gateway.wire.prefix import Prefix


class PowerOfTwo:
    """Policy `power-of-two`."""

    reads_prefix: ClassVar[bool] = False

    def pick(self, replicas: Sequence[View], prefix: Prefix, rng: random.Random) -> View:
        if len(replicas) == 1:
            return replicas[0]
        one, other = rng.sample(range(len(replicas)), 2)
        return min(replicas[one], replicas[other], key=cost)

    def scores(self, replicas: Sequence[View], prefix: Prefix) -> list[Score]:
        return [score(replica) for replica in replicas]
