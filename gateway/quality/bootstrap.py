"""How sure is a figure that is a ratio of sums over prompts? No I/O.

Prompts are drawn anew with replacement, whole: both answers to a prompt and all their tokens stay
together, since tokens of one answer are not independent. Intervals are percentiles of the drawn
figures (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). A proportion
gets Wilson's interval (1927), which is right also when all or none of a few are.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.figures.quantiles import quantile

ROUNDS = 1000
_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; `prompts`: how many it rests on."""

    value: float
    low: float
    high: float
    prompts: int


Share = tuple[float, float]  # what a prompt adds to the upper and to the lower sum


def ratio(shares: Sequence[Share], rng: random.Random, *, is_log: bool = False) -> Estimate | None:
    """Sum over sum, with its interval; None when the lower sum is nothing.

    `is_log`: the ratio is a mean of logarithms, and its exponential is meant.
    """
    if not sum(lower for _, lower in shares):
        return None
    drawn: list[float] = []
    for _ in range(ROUNDS):
        sample = rng.choices(shares, k=len(shares))
        below = math.fsum(lower for _, lower in sample)
        if below:
            drawn.append(math.fsum(upper for upper, _ in sample) / below)
    drawn.sort()
    value = math.fsum(upper for upper, _ in shares) / math.fsum(lower for _, lower in shares)
    parts = (value, quantile(drawn, 0.025), quantile(drawn, 0.975))
    told = [math.exp(min(part, 700.0)) for part in parts] if is_log else list(parts)
    counted = sum(1 for _, lower in shares if lower)
    return Estimate(told[0], told[1], told[2], counted)


def proportion(hits: int, count: int) -> Estimate | None:
    """So many of so many, with Wilson's interval; None of none."""
    if not count:
        return None
    share, z2 = hits / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return Estimate(share, _rounded(middle - half), _rounded(middle + half), count)


def _rounded(share: float) -> float:
    return round(min(1.0, max(0.0, share)), 12)


def mcnemar(only_a: int, only_b: int) -> float:
    """How likely so uneven a split is when both are equally good (two-sided, exact).

    `only_a`: prompts that only A answered right. Source: McNemar, 1947, in its binomial form.
    """
    count = only_a + only_b
    fewer = min(only_a, only_b)
    tail = math.fsum(_binomial_half(count, hits) for hits in range(fewer + 1))
    return min(1.0, 2 * tail)


def _binomial_half(count: int, hits: int) -> float:
    """The chance of so many heads; by logarithms, since the counts may be large."""
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways - count * math.log(2))
