"""How alike two answers to one call are. Pure."""

import math
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple

from gateway.proxy.mirror.said import Vectors


class Agreement(NamedTuple):
    """`common_prefix_ratio` is of the longer text; `first_difference` in characters, None: none.

    `cosine` is the least of two answers' embeddings, None for texts.
    """

    is_same: bool
    common_prefix_ratio: float | None = None
    first_difference: int | None = None
    cosine: float | None = None


def of_texts(a: str, b: str) -> Agreement:
    """Texts that are both empty are the same."""
    if a == b:
        return Agreement(True, 1.0)
    shared = _shared(a, b)
    return Agreement(False, shared / max(len(a), len(b)), shared)


def of_vectors(a: Vectors, b: Vectors) -> Agreement:
    """Vectors of another number or size have nothing in common."""
    sizes_a, sizes_b = [len(one) for one in a], [len(one) for one in b]
    if sizes_a != sizes_b:
        return Agreement(False, cosine=0.0)
    return Agreement(
        all(list(one) == list(other) for one, other in zip(a, b, strict=True)),
        cosine=min(cosine(one, other) for one, other in zip(a, b, strict=True)),
    )


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Of the angle between two vectors; 0 where one has no direction."""
    sizes = math.sqrt(math.fsum(map(mul, a, a)) * math.fsum(map(mul, b, b)))
    if not sizes or not math.isfinite(sizes):
        return 0.0
    return max(-1.0, min(1.0, math.fsum(map(mul, a, b)) / sizes))


def _shared(a: str, b: str) -> int:
    """How many characters are the same at the beginning, in few comparisons of long parts."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a.startswith(b[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low
