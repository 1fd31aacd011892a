"""One of several by their shares: at random, or always the same for the same key. Pure.

With a key: weighted rendezvous hashing. Each one's rank for a key depends on its own weight
alone, so a share that grows takes keys from the others and gives up none, and one that shrinks
gives up keys and takes none; in every process and after every start.

Source: Thaler and Ravishankar (1998) and its logarithmic method for weights, as in `rendezvous`.
"""

import random
from collections.abc import Sequence

from gateway.routing.rendezvous import ranked


def drawn(shares: Sequence[tuple[float, int]], key: int | None, rng: random.Random) -> int:
    """The place of one of them. Each is a weight, of which one is above 0, and a seed."""
    if key is None:
        return rng.choices(range(len(shares)), [weight for weight, _ in shares])[0]
    with_weight = [n for n, (weight, _) in enumerate(shares) if weight > 0]
    return max(with_weight, key=lambda n: ranked(key, shares[n][1], shares[n][0]))
