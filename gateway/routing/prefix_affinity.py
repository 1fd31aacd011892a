"""To where a prompt's beginning is in the KV cache, unless waiting there costs more than it saves.

Each replica has a cost, in blocks of prompt to compute: those of this prompt that it does not
know, those of others that it has yet to compute, and what its requests slow it down. The cheapest
is picked. What a replica knows we know from what we sent there. Of a conversation that we have not
seen another process may have, and has sent it to its home by consistent hashing, so the home is
trusted to know it. `docs/decisions/0022` tells where the numbers come from.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from gateway.routing.policy import Score, View
from gateway.routing.rendezvous import home
from gateway.wire.prefix import Prefix

# a block that this prompt must compute, against one that it waits for: computing what is known
# elsewhere keeps all others waiting, too
COMPUTE = 1.3
# blocks that a request of ours is worth, and one of others: those we know of are seconds old, and
# all processes see the same, so who follows them closely runs after all others to the same replica
OURS = 1.0
OTHERS = 0.1
# blocks that a full KV cache is worth: it preempts, but only when it is nearly full
FULL_CACHE = 16.0
# blocks that a new conversation may cost more at its home than elsewhere, and a session
LEAN = 2.0
SESSION_LEAN = 64.0


class PrefixAffinity:
    """Policy `prefix-affinity`."""

    reads_prefix: ClassVar[bool] = True

    def pick(self, replicas: Sequence[View], prefix: Prefix, rng: random.Random) -> View:
        if len(replicas) == 1:
            return replicas[0]
        scores = self.scores(replicas, prefix)
        best = min(range(len(replicas)), key=lambda n: (scores[n].cost, replicas[n].turns))
        return replicas[best]

    def scores(self, replicas: Sequence[View], prefix: Prefix) -> list[Score]:
        key, trusted, lean = _home_of(replicas, prefix)
        at = home(key, replicas)
        return [
            _score(replica, prefix, trusted, lean)
            if replica is at
            else _score(replica, prefix, 0, 0.0)
            for replica in replicas
        ]


def _home_of(replicas: Sequence[View], prefix: Prefix) -> tuple[int, int, float]:
    """The key whose home counts, the blocks that it is trusted to know, and the lean to it."""
    if prefix.has_session:
        return prefix.own_key, 0, SESSION_LEAN
    if prefix.past_blocks:
        is_seen = any(replica.has_seen(prefix.own_key) for replica in replicas)
        return prefix.own_key, 0 if is_seen else prefix.past_blocks, 0.0
    if prefix.shared_blocks and not any(one.has_seen(prefix.shared_key) for one in replicas):
        return prefix.shared_key, prefix.shared_blocks, 0.0
    return prefix.own_key, 0, LEAN if prefix.own_key else 0.0


def _score(replica: View, prefix: Prefix, trusted: int, lean: float) -> Score:
    known = max(replica.known_blocks(prefix.blocks), min(trusted, len(prefix.blocks)))
    others = replica.load - replica.in_flight
    parts = {
        "uncached": COMPUTE * (len(prefix.blocks) - known),
        "prefilling": float(replica.prefilling),
        "requests": OURS * replica.in_flight + OTHERS * others,
        "kv_cache": FULL_CACHE * (replica.kv_cache_used_ratio or 0.0) ** 4,
        "home": -lean,
    }
    return Score(sum(parts.values()) / replica.weight, parts)
