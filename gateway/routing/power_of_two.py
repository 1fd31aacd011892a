"""The less loaded of two replicas drawn at random.

Almost as even as asking all, and many gateways that see the same figures do not all run to the
same replica.

Source: Mitzenmacher, "The power of two choices in randomized load balancing" (2001).
"""

import random
from collections.abc import Sequence

from gateway.routing.least_loaded import cost
from gateway.routing.policy import View


class PowerOfTwo:
    """Policy `power-of-two`."""

    def pick(self, replicas: Sequence[View], rng: random.Random) -> View:
        if len(replicas) == 1:
            return replicas[0]
        one, other = rng.sample(range(len(replicas)), 2)
        return min(replicas[one], replicas[other], key=cost)
