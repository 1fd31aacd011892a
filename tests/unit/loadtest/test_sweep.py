from dataclasses import replace

import pytest

from gateway.loadtest.slo import Slo
from gateway.loadtest.sweep import (
    MAX_STEPS_UP,
    Knee,
    Listed,
    Point,
    Search,
    Verdict,
    judged,
    knee_of,
    power,
)
from tests.support.outcomes import REFUSED, a_summary, an_outcome

SLO = Slo(ttft_ms=150)


def a_point(rate: float, verdict: Verdict = Verdict.SUSTAINED, e2e_s: float = 0.1) -> Point:
    outcomes = [an_outcome(i, at_s=i / rate, ttft_s=e2e_s, tokens=1) for i in range(20)]
    return Point(rate, a_summary(outcomes), verdict)


def searched(limit: float, search: Search) -> list[float]:
    """The rates a search tries at an endpoint that sustains up to `limit`."""
    points: list[Point] = []
    while (rate := search.next_rate(points)) is not None:
        ok = rate <= limit
        points.append(a_point(rate, Verdict.SUSTAINED if ok else Verdict.QUEUE_GROWS))
    return [point.rate_per_s for point in points]


def test_a_rate_is_sustained_when_nothing_speaks_against_it() -> None:
    outcomes = [an_outcome(i, at_s=i / 10) for i in range(60)]
    assert judged(a_summary(outcomes, SLO), 0.99) is Verdict.SUSTAINED


def test_failures_speak_against_a_rate() -> None:
    outcomes = [an_outcome(i, at_s=i / 10, failure=REFUSED if i < 2 else None) for i in range(60)]
    assert judged(a_summary(outcomes), 0.99) is Verdict.FAILURES
    assert judged(a_summary([]), 0.99) is Verdict.FAILURES


def test_a_client_that_can_do_no_more_ends_the_search() -> None:
    summary = a_summary([an_outcome(i, at_s=i / 10) for i in range(60)])
    busy = replace(summary, overhead=replace(summary.overhead, cpu_ratio=0.97))
    assert judged(busy, 0.99) is Verdict.CLIENT_TOO_SLOW


def test_a_growing_queue_speaks_against_a_rate() -> None:
    outcomes = [an_outcome(i, at_s=i / 10, ttft_s=0.1 + i / 100) for i in range(60)]
    assert judged(a_summary(outcomes), 0.99) is Verdict.QUEUE_GROWS


def test_a_missed_objective_speaks_against_a_rate() -> None:
    outcomes = [an_outcome(i, at_s=i / 10, ttft_s=0.2 if i % 10 == 0 else 0.1) for i in range(60)]
    summary = a_summary(outcomes, SLO)
    assert judged(summary, 0.95) is Verdict.OBJECTIVE_MISSED
    assert judged(summary, 0.85) is Verdict.SUSTAINED


def test_the_knee_is_where_throughput_over_latency_is_highest() -> None:
    points = [a_point(1), a_point(2), a_point(4, e2e_s=0.15), a_point(8, Verdict.FAILURES, 2.0)]
    assert knee_of(points) == Knee(4, 8, 4)
    assert power(points[0].summary) < power(points[1].summary)


def test_what_is_sustained_above_a_rate_that_is_not_does_not_count() -> None:
    points = [a_point(1), a_point(2, Verdict.QUEUE_GROWS), a_point(4)]
    assert knee_of(points).sustained_per_s == 1


def test_nothing_found_is_nothing() -> None:
    assert knee_of([]) == Knee(None, None, None)
    failed = Point(1.0, a_summary([an_outcome(failure=REFUSED)]), Verdict.FAILURES)
    assert knee_of([failed]) == Knee(None, 1.0, None)
    instant = a_summary([an_outcome(ttft_s=0.0, tokens=1)])
    assert power(instant) == 0.0


def test_a_search_doubles_and_then_halves_the_interval() -> None:
    rates = searched(11.0, Search(1.0, refinements=3))
    assert rates[:5] == [1, 2, 4, 8, 16]
    assert rates[5:] == pytest.approx([11.3, 9.51, 10.4], rel=0.01)


@pytest.mark.parametrize("limit", [1.0, 3.3, 47.0, 1000.0])
def test_a_search_comes_near_the_limit(limit: float) -> None:
    rates = searched(limit, Search(1.0, refinements=3))
    best = max(rate for rate in rates if rate <= limit)
    assert limit / 1.1 <= best <= limit


def test_a_search_goes_down_when_the_first_rate_is_too_high() -> None:
    rates = searched(3.0, Search(16.0, refinements=3))
    assert rates[:4] == [16, 8, 4, 2]
    assert len(rates) <= 8
    assert searched(0.0, Search(16.0, refinements=3)) == [16, 8, 4, 2]


def test_a_search_without_end_ends() -> None:
    assert len(searched(1e12, Search(1.0))) == MAX_STEPS_UP


def test_a_narrow_interval_is_enough() -> None:
    points = [a_point(10.0), a_point(10.4, Verdict.QUEUE_GROWS)]
    assert Search(10.0).next_rate(points) is None


def test_named_rates_are_tried_from_the_lowest() -> None:
    listed = Listed((4.0, 1.0, 2.0))
    points: list[Point] = []
    while (rate := listed.next_rate(points)) is not None:
        points.append(a_point(rate))
    assert [point.rate_per_s for point in points] == [1, 2, 4]
