from dataclasses import replace

import pytest

from gateway.loadtest.arrivals import ClosedLoop, OpenLoop
from gateway.loadtest.slo import Slo
from gateway.loadtest.sweep import Verdict
from gateway.loadtest.table import (
    LATENCY_HEADERS,
    SWEEP_HEADERS,
    client_words,
    fact_rows,
    failure_rows,
    knee_words,
    latency_rows,
    number,
    sweep_rows,
)
from gateway.loadtest.trial import Trial
from tests.support.bench_reports import a_report, a_sweep, a_test
from tests.support.outcomes import REFUSED, an_outcome


def facts_of(test: Trial) -> dict[str, str]:
    rows = fact_rows(test)
    return {row[0]: row[1] for row in rows}


def test_a_row_for_each_latency() -> None:
    rows = latency_rows(a_test().summary)
    assert [row[0] for row in rows] == [
        "first token (TTFT)",
        "between tokens (ITL)",
        "mean per token (TPOT)",
        "whole answer (E2E)",
    ]
    assert {len(row) for row in rows} == {len(LATENCY_HEADERS)}
    assert rows[0][1:] == ("100",) * 6


def test_what_there_was_none_of_has_no_row() -> None:
    rows = latency_rows(a_test(outcomes=[an_outcome(tokens=0)]).summary)
    assert [row[0] for row in rows] == ["whole answer (E2E)"]


def test_facts() -> None:
    facts = facts_of(a_test(unfinished=2))
    assert facts["requests"] == "41: 40 whole, 1 failed, and 2 interrupted"
    assert facts["served"] == "9.76 a second, of 10 offered, in 4.1 s"
    assert facts["goodput"].startswith("97.6% of the requests, 9.76")
    assert facts["prompt tokens"].endswith("800 in all")
    assert "of a core" in facts["this client"]


def test_facts_of_a_closed_loop_without_usage_or_objective() -> None:
    outcomes = [an_outcome(counted=False)]
    facts = facts_of(a_test(ClosedLoop(1), outcomes, slo=Slo(), is_open=False))
    assert "offered" not in facts["served"]
    assert facts["output tokens"].endswith("(counted as events: no usage was given)")
    assert "prompt tokens" not in facts
    assert "goodput" not in facts
    assert "late" not in facts["this client"].split("event loop")[0]


def test_cached_tokens_are_told() -> None:
    facts = facts_of(a_test(outcomes=[an_outcome(cached_tokens=9)]))
    assert facts["prompt tokens"].endswith("9 from a cache")


def test_an_idle_client_says_little() -> None:
    summary = a_test(outcomes=[], is_open=False).summary
    assert client_words(summary).startswith("10% of a core, event loop late")
    unwatched = replace(summary, overhead=replace(summary.overhead, stall_ms=None))
    assert client_words(unwatched) == "10% of a core"


def test_failures_have_their_place_where_there_are_several_tests() -> None:
    expected = ("1", "429 rate_limit_exceeded", "too many requests")
    assert failure_rows([a_test()]) == [expected]
    rows = failure_rows([a_test(), a_test(OpenLoop(5.0))])
    assert rows[1] == ("5 requests/s, poisson", *expected)


def test_a_sweep_is_shown_from_the_lowest_rate() -> None:
    rows = sweep_rows(a_sweep())
    assert [(row[0], row[-1]) for row in rows] == [
        ("1", "sustained"),
        ("2", "sustained"),
        ("4", "queue grows"),
    ]
    assert {len(row) for row in rows} == {len(SWEEP_HEADERS)}


def test_a_rate_at_which_all_failed_has_empty_cells() -> None:
    failed = a_test(
        OpenLoop(1.0), [an_outcome(failure=REFUSED)], verdict=Verdict.FAILURES, slo=Slo()
    )
    ((_, _, failures, *latencies, _, _, goodput, verdict),) = sweep_rows(
        a_report(failed, a_test(), is_sweep=True)
    )
    assert (failures, latencies, goodput, verdict) == ("1", [""] * 6, "", "failures")


def test_what_a_sweep_found_in_words() -> None:
    assert knee_words(a_sweep()) == (
        "2 requests/s are sustained; 4 are not. "
        "The knee (highest throughput over latency) is at 2 requests/s."
    )
    only = a_test(OpenLoop(1.0), verdict=Verdict.SUSTAINED)
    assert "the limit was not reached" in knee_words(a_report(only, is_sweep=True))
    none = a_test(OpenLoop(1.0), [an_outcome(failure=REFUSED)], verdict=Verdict.FAILURES)
    assert knee_words(a_report(none, is_sweep=True)) == "No rate that was tried is sustained."
    assert knee_words(a_report()) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,234"),
        (100.4, "100"),
        (60.0, "60"),
        (1.234, "1.23"),
        (0.012, "0.01"),
        (0, "0.00"),
    ],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert number(value) == text
