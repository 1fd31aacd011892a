from dataclasses import replace

from gateway.quality.item import failed_item
from gateway.quality.table import (
    FINDING_HEADERS,
    HEADERS,
    coverage_words,
    failure_rows,
    finding_rows,
    rows_of,
    verdict_words,
)
from gateway.quality.verdict import Thresholds
from gateway.quality.views import Views, shared_views
from tests.support.compared import a_report, a_side, along, an_item

DIFFERING = an_item(
    1,
    a_side(right=True),
    a_side("a c", right=False),
    shared_views(along("a", "b"), along("a", "c")),
)


def test_a_row_for_each_figure() -> None:
    rows = rows_of(a_report([an_item(), DIFFERING]).summary)
    assert {len(row) for row in rows} == {len(HEADERS)}
    told = {row[0]: row for row in rows}
    assert told["right answers"][1:4] == ("100.0%", "0.0%", "-100.0 pp")
    assert told["first difference"][3] == "at token 2 (median of 1)"
    assert told["top-1 agreement, tokens"][3] == "75.0%"
    assert "perplexity of A's answers" in told
    assert told["TTFT, median ms"][1:4] == ("10", "10", "1x")


def test_what_is_not_known_has_no_row() -> None:
    bare = an_item(0, a_side(ttft_ms=None, tpot_ms=None, tokens=0), views=Views())
    names = [row[0] for row in rows_of(a_report([bare]).summary)]
    assert names == [
        "same answer, word for word",
        "part in common before they differ",
        "refusals",
    ]
    assert rows_of(a_report([]).summary) == []


def test_thresholds_and_how_sure_they_are() -> None:
    report = a_report([an_item(), DIFFERING])
    rows = finding_rows(report.verdict)
    assert {len(row) for row in rows} == {len(FINDING_HEADERS)}
    told = {row[0]: row for row in rows}
    assert told["accuracy drop"] == ("accuracy drop", "1", "at most 0.01", "BROKEN")
    assert told["top-1 agreement"][2:] == (
        "at least 0.93",
        "BROKEN, but too few prompts to be sure",
    )
    (unknown,) = [row for row in finding_rows(a_report().verdict) if row[1] == "unknown"]
    assert unknown[0] == "accuracy drop"


def test_the_verdict_in_words() -> None:
    assert verdict_words(a_report([DIFFERING])).startswith(
        "Worse: m:fp8 against m:bf16 breaks accuracy drop"
    )
    lenient = Thresholds(None, 1.0, None, None)
    assert verdict_words(a_report(thresholds=lenient)) == (
        "Fine: m:fp8 is within all thresholds against m:bf16."
    )
    partly = replace(lenient, max_accuracy_drop=0.1)
    assert "the thresholds that were measured" in verdict_words(a_report(thresholds=partly))
    none = Thresholds(None, None, None, None)
    assert verdict_words(a_report(thresholds=none)).startswith("Nothing was measured")


def test_how_much_is_known() -> None:
    assert coverage_words(a_report().summary).startswith("B's view is known of 100%")
    assert coverage_words(a_report([an_item(views=Views())]).summary) == ""


def test_failures() -> None:
    assert failure_rows(a_report([failed_item(4, "k", "no"), an_item()])) == [("5", "no")]
