"""Which rates to try, and what they say: how much an endpoint sustains, and where its knee is.

No I/O. A rate is sustained when next to nothing fails, answers do not come later and later (a
queue that grows), and the objective, where there is one, is met by most requests. A rate at which
the load generator itself can do no more says nothing of the endpoint, and ends the search.

The knee is the rate at which power, the requests served per second over the mean time of an
answer, is highest: beyond it latency grows faster than throughput. Source: L. Kleinrock, "Power
and deterministic rules of thumb for probabilistic problems in computer communications", ICC 1979.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.loadtest.summary import Summary

MAX_FAILED_RATIO = 0.01
MAX_SLOWDOWN_PER_S = 0.05
MAX_STEPS_UP = 16


class Verdict(StrEnum):
    """Whether a rate was sustained, or why not."""

    SUSTAINED = "sustained"
    FAILURES = "failures"
    QUEUE_GROWS = "queue grows"
    OBJECTIVE_MISSED = "objective missed"
    CLIENT_TOO_SLOW = "client too slow"


@dataclass(frozen=True, slots=True)
class Point:
    """One rate of a sweep, in requests a second."""

    rate_per_s: float
    summary: Summary
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Knee:
    """Rates in requests a second; None where no rate was such.

    `sustained_per_s`: the highest that was, below all that were not. `first_not_per_s`: the
    lowest that was not. `knee_per_s`: where power was highest.
    """

    sustained_per_s: float | None
    first_not_per_s: float | None
    knee_per_s: float | None


def judged(summary: Summary, attainment: float) -> Verdict:
    """`attainment`: the part of the requests, 0 to 1, that must meet the objective."""
    if summary.failed_ratio > MAX_FAILED_RATIO or not summary.whole:
        return Verdict.FAILURES
    if summary.overhead.is_saturated:
        return Verdict.CLIENT_TOO_SLOW
    if (summary.slowdown_per_s or 0.0) > MAX_SLOWDOWN_PER_S:
        return Verdict.QUEUE_GROWS
    if summary.goodput_ratio is not None and summary.goodput_ratio < attainment:
        return Verdict.OBJECTIVE_MISSED
    return Verdict.SUSTAINED


def power(summary: Summary) -> float:
    """Requests served a second, over the mean seconds of an answer."""
    if summary.e2e_ms is None or summary.e2e_ms.mean <= 0:
        return 0.0
    return summary.served_per_s / (summary.e2e_ms.mean / 1000)


def knee_of(points: Sequence[Point]) -> Knee:
    """What a sweep found."""
    not_sustained = [p.rate_per_s for p in points if p.verdict is not Verdict.SUSTAINED]
    first_not = min(not_sustained, default=None)
    sustained = [
        p.rate_per_s
        for p in points
        if p.verdict is Verdict.SUSTAINED and (first_not is None or p.rate_per_s < first_not)
    ]
    best = max(points, key=lambda point: power(point.summary), default=None)
    has_power = best is not None and power(best.summary) > 0
    return Knee(
        sustained_per_s=max(sustained, default=None),
        first_not_per_s=first_not,
        knee_per_s=best.rate_per_s if best is not None and has_power else None,
    )


@dataclass(frozen=True, slots=True)
class Search:
    """Look for the limit: double from `start_per_s` until a rate is not sustained, then halve the
    interval `refinements` times (by ratio).
    """  # noqa: D205  # one sentence

    start_per_s: float = 1.0
    refinements: int = 3

    def next_rate(self, points: Sequence[Point]) -> float | None:
        """The rate to try now; None when the search is over."""
        found = knee_of(points)
        low, high = found.sustained_per_s, found.first_not_per_s
        if not points:
            return self.start_per_s
        if high is None:
            return points[-1].rate_per_s * 2 if len(points) < MAX_STEPS_UP else None
        if low is None:
            return high / 2 if len(points) <= self.refinements else None
        # rates that doubled on the way up need no refinement
        refined = len(points) - _steps_to_first_failure(points)
        if refined >= self.refinements or high / low < 1.05:
            return None
        return float(f"{(low * high) ** 0.5:.3g}")


def _steps_to_first_failure(points: Sequence[Point]) -> int:
    return next(n for n, one in enumerate(points, 1) if one.verdict is not Verdict.SUSTAINED)


@dataclass(frozen=True, slots=True)
class Listed:
    """Rates that were named, from the lowest."""

    rates_per_s: tuple[float, ...]

    def next_rate(self, points: Sequence[Point]) -> float | None:
        """The rate to try now; None when all were tried."""
        ordered = sorted(self.rates_per_s)
        return ordered[len(points)] if len(points) < len(ordered) else None
