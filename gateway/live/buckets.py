"""Quantiles of a histogram. Pure.

Within a bucket values count as evenly spread; what lies above the last bound counts as that
bound, so a quantile there is a lower limit. Source: Prometheus, `histogram_quantile`.
"""

from collections.abc import Sequence


def quantile(bounds: Sequence[float], counts: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the values lie, in the unit of the bounds.

    `counts` by bucket, not cumulated, one more than bounds; at least one of them above 0.
    """
    rank = part * sum(counts)
    below = 0.0
    for index, (bound, count) in enumerate(zip(bounds, counts, strict=False)):
        if count and below + count >= rank:
            lower = bounds[index - 1] if index else 0.0
            return lower + (bound - lower) * (rank - below) / count
        below += count
    return bounds[-1]
