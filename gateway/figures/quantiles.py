"""How values are spread: quantiles, and the few of them that reports show. No I/O.

Quantiles are interpolated between the two nearest values (type 7 of Hyndman and Fan, "Sample
quantiles in statistical packages", 1996: what NumPy, R and spreadsheets do by default).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Some values in short, in their own unit. `count` is how many there were, at least one."""

    count: int
    mean: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float

    def as_dict(self) -> dict[str, float]:
        """The fields by name, rounded to what was measured: six digits."""
        return {name: significant(value) for name, value in asdict(self).items()}


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the ordered values lie. Raises on none."""
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread_of(values: Iterable[float]) -> Spread | None:
    """None of no values."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Spread(
        count=len(ordered),
        mean=math.fsum(ordered) / len(ordered),
        min=ordered[0],
        p50=quantile(ordered, 0.5),
        p90=quantile(ordered, 0.9),
        p95=quantile(ordered, 0.95),
        p99=quantile(ordered, 0.99),
        max=ordered[-1],
    )


def cumulative(values: Iterable[float], points: int = 200) -> tuple[tuple[float, float], ...]:
    """The distribution as at most `points` + 1 pairs: a value, and the percentage up to it."""
    ordered = sorted(values)
    if not ordered:
        return ()
    count = min(points, max(1, len(ordered) - 1))
    return tuple((quantile(ordered, i / count), 100 * i / count) for i in range(count + 1))


def significant(value: float, digits: int = 6) -> float:
    """Rounded to so many significant digits; whole numbers are left whole."""
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return float(f"{value:.{digits}g}")
