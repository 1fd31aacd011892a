import re

from gateway.loadtest.arrivals import ClosedLoop, OpenLoop
from gateway.loadtest.html_page import html_of
from gateway.loadtest.slo import Slo
from gateway.loadtest.sweep import Verdict
from tests.support.bench_reports import a_report, a_sweep, a_test
from tests.support.outcomes import REFUSED, an_outcome


def test_a_page_shows_plots_tables_and_failures() -> None:
    html = html_of(a_report(notes=("a note",)))
    assert html.count("<svg") == 7
    for text in (
        "Load test of m",
        "first token (TTFT)",
        "Failures",
        "too many requests",
        "a note",
        "Objective: first token within 150 ms",
        "Sent late by this client",
    ):
        assert text in html
    assert not re.search(r"<script|src=|href=|url\(", html)


def test_a_closed_loop_has_no_lag_to_show() -> None:
    test = a_test(
        ClosedLoop(2), [an_outcome(i, at_s=i / 10) for i in range(9)], slo=Slo(), is_open=False
    )
    html = html_of(a_report(test, slo=Slo(), is_interrupted=True))
    assert html.count("<svg") == 6
    assert "Sent late" not in html
    assert "interrupted" in html
    assert "Failures" not in html


def test_a_sweep_shows_curves_over_the_rate() -> None:
    html = html_of(a_sweep())
    assert html.count("<svg") == 6
    assert "2 requests/s are sustained; 4 are not." in html
    assert ">knee<" in html
    assert ">goodput<" in html


def test_latencies_far_apart_get_a_logarithmic_axis() -> None:
    far = [an_outcome(i, at_s=i / 10, ttft_s=10.0 ** (i % 4 - 2)) for i in range(40)]
    assert ">10,000<" in html_of(a_report(a_test(outcomes=far)))


def test_nothing_but_failures_is_shown_too() -> None:
    outcomes = [an_outcome(failure=REFUSED)]
    failed = a_test(OpenLoop(1.0), outcomes, slo=Slo(), verdict=Verdict.FAILURES)
    assert "nothing to show" in html_of(a_report(failed, slo=Slo(), is_sweep=True))
    assert "nothing to show" in html_of(a_report(a_test(outcomes=outcomes), slo=Slo()))


def test_a_name_is_never_markup() -> None:
    assert "<m>" not in html_of(a_report(model="<m>", prompts={"<p>": "<q>"}))
