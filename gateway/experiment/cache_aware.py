"""A policy to compare ours with: `cache_aware` of SGLang's router, which vLLM's has taken over.

A prompt follows the longest beginning that was sent anywhere before, if that is more than a part of
it; what is new goes to the replica that has been sent the least. When the numbers of requests
differ by too much, the fewest get the next. Nothing is ever forgotten: its tree is far larger than
what a run sends. Every process has a tree of its own.

Source: the router's documentation, and its defaults in 0.3.2. `--router` measures the real one.
"""

import random
from collections.abc import Sequence
from typing import ClassVar, Final

from gateway.routing.policy import Score, View
from gateway.wire.prefix import Prefix

CACHE_THRESHOLD: Final = 0.3
BALANCE_DIFFERENCE: Final = 64
BALANCE_RATIO: Final = 1.5


class CacheAware:
    """Contender `sglang-cache-aware`. Unlike a policy of the gateway it remembers."""

    reads_prefix: ClassVar[bool] = True

    def __init__(self) -> None:
        self._calls = 0
        # of every block: when it was last sent to whom
        self._sent: dict[int, dict[str, int]] = {}
        self._sizes: dict[str, int] = {}

    def pick(self, replicas: Sequence[View], prefix: Prefix, rng: random.Random) -> View:
        picked = self._picked(replicas, prefix)
        self._calls += 1
        for block in prefix.blocks:
            sent = self._sent.setdefault(block, {})
            self._sizes[picked.name] = self._sizes.get(picked.name, 0) + (picked.name not in sent)
            sent[picked.name] = self._calls
        return picked

    def scores(self, replicas: Sequence[View], prefix: Prefix) -> list[Score]:
        picked = self._picked(replicas, prefix)
        return [Score(float(replica is not picked), {}) for replica in replicas]

    def _picked(self, replicas: Sequence[View], prefix: Prefix) -> View:
        loads = [replica.in_flight for replica in replicas]
        most, least = max(loads), min(loads)
        if most - least > BALANCE_DIFFERENCE and most > BALANCE_RATIO * least:
            return min(replicas, key=lambda replica: replica.in_flight)
        known = 0
        while known < len(prefix.blocks) and prefix.blocks[known] in self._sent:
            known += 1
        if known > CACHE_THRESHOLD * len(prefix.blocks):
            sent = self._sent[prefix.blocks[known - 1]]
            return max(replicas, key=lambda replica: sent.get(replica.name, 0))
        return min(replicas, key=lambda replica: self._sizes.get(replica.name, 0))
