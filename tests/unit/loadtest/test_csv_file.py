import csv
import io

from gateway.loadtest.arrivals import OpenLoop
from gateway.loadtest.csv_file import HEADER, csv_of
from gateway.loadtest.slo import Slo
from tests.support.bench_reports import a_test
from tests.support.outcomes import REFUSED, an_outcome


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_line_for_each_request_in_order() -> None:
    outcomes = [
        an_outcome(1, at_s=1.0, failure=REFUSED),
        an_outcome(0, lag_s=0.002, counted=False, tokens=1),
        an_outcome(2, at_s=2.0, cached_tokens=4),
    ]
    first, second, third = rows(csv_of([a_test(outcomes=outcomes)], Slo(ttft_ms=150)))
    assert tuple(first) == HEADER
    assert (first["number"], first["lag_ms"], first["ttft_ms"]) == ("0", "2.0", "100.0")
    assert (first["prompt_tokens"], first["tpot_ms"], first["itl_max_ms"]) == ("", "", "")
    assert (second["status"], second["failure"]) == ("429", "429 rate_limit_exceeded")
    assert (second["ttft_ms"], second["meets_slo"], second["finish_reason"]) == ("", "0", "")
    assert (third["cached_tokens"], third["status"], third["meets_slo"]) == ("4", "200", "1")


def test_several_tests_are_numbered_and_no_objective_is_none() -> None:
    told = rows(
        csv_of([a_test(outcomes=[an_outcome()]), a_test(OpenLoop(5.0), [an_outcome()])], Slo())
    )
    assert [(row["test"], row["load"]) for row in told] == [
        ("0", "10 requests/s, poisson"),
        ("1", "5 requests/s, poisson"),
    ]
    assert told[0]["meets_slo"] == ""
