import pytest

from gateway.loadtest.slo import Slo
from gateway.loadtest.summary import FailureCount, in_flight, slowdown_per_s
from gateway.remote.failure import Failure
from tests.support.outcomes import REFUSED, a_summary, an_outcome


def steady(count: int, growth: float = 0.0) -> list[float]:
    """First tokens of requests, one each second, each later by `growth`."""
    return [0.1 + growth * i for i in range(count)]


def test_figures_of_whole_answers() -> None:
    summary = a_summary([an_outcome(i, at_s=float(i)) for i in range(5)])
    assert (summary.requests, summary.whole, summary.failed) == (5, 5, 0)
    assert summary.duration_s == pytest.approx(4.14)
    assert summary.offered_per_s == 1.0
    assert summary.served_per_s == pytest.approx(5 / 4.14)
    assert summary.ttft_ms is not None
    assert summary.ttft_ms.p99 == pytest.approx(100)
    assert summary.itl_ms is not None
    assert (summary.itl_ms.count, round(summary.itl_ms.p50, 6)) == (20, 10)
    assert summary.completion_tokens == 25
    assert summary.completion_tokens_per_s == pytest.approx(25 / 4.14)
    assert summary.prompt_tokens_per_s == pytest.approx(100 / 4.14)
    assert summary.tokens_counted
    assert summary.goodput_ratio is None
    assert summary.goodput_per_s is None


def test_failures_are_counted_by_kind_and_are_in_no_percentile() -> None:
    other = Failure("timeout", "no answer")
    outcomes = [
        an_outcome(0),
        an_outcome(1, failure=REFUSED, ttft_s=50),
        an_outcome(2, failure=other, ttft_s=90),
        an_outcome(3, failure=REFUSED),
    ]
    summary = a_summary(outcomes, Slo(ttft_ms=1000))
    assert summary.failures == (
        FailureCount("429 rate_limit_exceeded", 2, "too many requests"),
        FailureCount("timeout", 1, "no answer"),
    )
    assert summary.failed_ratio == 0.75
    assert summary.e2e_ms is not None
    assert summary.e2e_ms.max < 1000
    assert summary.goodput_ratio == 0.25
    assert summary.goodput_per_s == pytest.approx(1 / 90)


def test_nothing_at_all() -> None:
    summary = a_summary([], Slo(ttft_ms=1), unfinished=3)
    assert (summary.requests, summary.unfinished, summary.failed_ratio) == (0, 3, 0)
    assert (summary.served_per_s, summary.completion_tokens_per_s) == (0, 0)
    assert summary.prompt_tokens_per_s == 0
    assert (summary.ttft_ms, summary.e2e_ms, summary.goodput_ratio) == (None, None, None)
    assert summary.max_in_flight == 0
    assert summary.offered_per_s is None


def test_goodput_of_no_time_is_nothing() -> None:
    instant = an_outcome(ttft_s=0.0, tokens=1)
    assert a_summary([instant], Slo(ttft_ms=1)).goodput_per_s == 0.0


def test_a_closed_loop_offers_no_rate_and_is_never_late() -> None:
    summary = a_summary([an_outcome(i, at_s=float(i)) for i in range(40)], is_open=False)
    assert summary.offered_per_s is None
    assert summary.slowdown_per_s is None
    assert summary.overhead.lag_ms is None


def test_tokens_that_nobody_counted_are_told() -> None:
    assert not a_summary([an_outcome(counted=False)]).tokens_counted


def test_requests_in_flight_over_time() -> None:
    outcomes = [
        an_outcome(0, at_s=0, ttft_s=1.0, tokens=1),
        an_outcome(1, at_s=0.5, ttft_s=1.0, tokens=1),
        an_outcome(2, at_s=1.0, ttft_s=1.0, tokens=1),
    ]
    assert [count for _, count in in_flight(outcomes)] == [1, 2, 1, 2, 1, 0]
    assert a_summary(outcomes).max_in_flight == 2


def test_a_queue_that_grows_shows_as_answers_that_come_later_and_later() -> None:
    flat = [an_outcome(i, at_s=float(i), ttft_s=t) for i, t in enumerate(steady(60))]
    assert slowdown_per_s(flat) == pytest.approx(0.0)
    growing = [an_outcome(i, at_s=float(i), ttft_s=t) for i, t in enumerate(steady(60, 0.2))]
    assert slowdown_per_s(growing) == pytest.approx(0.2)


def test_an_idle_beginning_is_no_growth() -> None:
    outcomes = [an_outcome(i, at_s=float(i), ttft_s=0.1 if i < 20 else 5.0) for i in range(60)]
    assert slowdown_per_s(outcomes) == pytest.approx(0.0)


def test_few_requests_tell_nothing() -> None:
    assert slowdown_per_s([an_outcome(i, at_s=float(i)) for i in range(29)]) is None
    assert slowdown_per_s([an_outcome(i) for i in range(60)]) is None
