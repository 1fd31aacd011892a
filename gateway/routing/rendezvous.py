"""Consistent hashing with bounded loads: the same key goes to the same replica in every process.

Each key ranks all replicas; the first that is not overloaded is its home. A replica that comes or
goes moves only the keys that it wins or had, and the overflow of a busy one always goes to the
same second. Nothing is shared between processes but the replicas' addresses.

Sources: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998);
Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads" (2016).
"""

import math
from collections.abc import Sequence

from gateway.routing.policy import View

# how much more than its share of all requests a replica may have and still be a home
BOUND = 2.0
_MASK = (1 << 64) - 1


def home(key: int, replicas: Sequence[View]) -> View:
    """The highest ranked of the replicas that are within the bound; there always is one."""
    weight = sum(replica.weight for replica in replicas)
    share = BOUND * (1 + sum(replica.load for replica in replicas)) / weight
    fitting = [one for one in replicas if one.load <= math.ceil(share * one.weight) - 1]
    return max(fitting or replicas, key=lambda one: ranked(key, one.seed, one.weight))


def ranked(key: int, seed: int, weight: float) -> float:
    """Weighted rendezvous: what has weight 2 is the highest ranked of twice as many keys."""
    drawn = mixed(key ^ seed)
    return -weight / math.log((drawn + 1) / (_MASK + 2))


def mixed(value: int) -> int:
    """64 bits in, 64 well mixed bits out: the finalizer of SplitMix64 (Steele et al., 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
