"""To where a prompt's beginning is in the KV cache, unless waiting there costs more than it saves.

Each replica has a cost, in blocks of prompt to compute: those of this prompt that it does not
know, those of others that it has yet to compute, and what its requests slow it down. The cheapest
is picked. What a replica knows we know from what we sent there. Of what we have not seen another
process may have, and has sent it to its home by consistent hashing, so the home is trusted to know
it. `docs/decisions/0022` tells where the numbers come from.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from gateway.routing.policy import Score, View
from gateway.routing.rendezvous import home
from gateway.wire.prefix import Prefix

# a block that this prompt must compute, against one that it waits for: computing what is known
# elsewhere keeps all others waiting, too
COMPUTE = 2.0
# blocks that a request of ours is worth, and one of others: those we know of are seconds old, and
# all processes see the same, so who follows them closely runs after all others to the same replica
OURS = 1.0
OTHERS = 0.03
# a block that we sent there of late, computed or not: so every process spreads what it sends
SENT = 0.15
# blocks that a full KV cache is worth: it preempts, but only when it is nearly full
FULL_CACHE = 16.0
# blocks that a conversation may cost more where it belongs than elsewhere, and a session
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
        return [
            _score(replica, prefix, trusted, lean)
            for replica, (trusted, lean) in zip(replicas, _expected(replicas, prefix), strict=True)
        ]


def _expected(replicas: Sequence[View], prefix: Prefix) -> list[tuple[int, float]]:
    """For each replica: the blocks that are trusted to be cached there, and the lean to it.

    A place is where we sent this conversation or system prompt; else where others would have.
    """
    is_shared = any(replica.is_shared for replica in replicas)
    own = _places(replicas, prefix.own_key, at_home=is_shared or prefix.has_session)
    if prefix.has_session:
        return [(0, SESSION_LEAN * here) for here in own]
    if prefix.past_blocks:
        return [(prefix.past_blocks * here, 0.0) for here in own]
    common = _places(replicas, prefix.shared_key, at_home=is_shared)
    return [
        (prefix.shared_blocks * there, LEAN * here) for there, here in zip(common, own, strict=True)
    ]


def _places(replicas: Sequence[View], key: int, *, at_home: bool) -> list[bool]:
    """The replicas that have seen a key; none has: its home, if that counts."""
    places = [key != 0 and replica.has_seen(key) for replica in replicas]
    if key and at_home and not any(places):
        at = home(key, replicas)
        return [replica is at for replica in replicas]
    return places


def _score(replica: View, prefix: Prefix, trusted: int, lean: float) -> Score:
    known = max(replica.known_blocks(prefix.blocks), min(trusted, len(prefix.blocks)))
    others = replica.load - replica.in_flight
    parts = {
        "uncached": COMPUTE * (len(prefix.blocks) - known),
        "prefilling": float(replica.prefilling),
        "requests": OURS * replica.in_flight + OTHERS * others,
        "sent": SENT * replica.sent,
        "kv_cache": FULL_CACHE * (replica.kv_cache_used_ratio or 0.0) ** 4,
        "home": -lean,
    }
    return Score(sum(parts.values()) / replica.weight, parts)
