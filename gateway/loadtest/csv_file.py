"""Every request of a load test as CSV, for whoever wants to look for themselves. No I/O."""

import csv
import io
from collections.abc import Sequence

from gateway.figures.quantiles import significant
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.slo import Slo
from gateway.loadtest.trial import Trial

HEADER = (
    "test",
    "load",
    "number",
    "intended_s",
    "lag_ms",
    "ttft_ms",
    "tpot_ms",
    "itl_max_ms",
    "e2e_ms",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "finish_reason",
    "status",
    "failure",
    "meets_slo",
)


def csv_of(tests: Sequence[Trial], slo: Slo) -> str:
    """One line for each request, in order of its intended start; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for number, test in enumerate(tests):
        for outcome in sorted(test.outcomes, key=lambda one: one.number):
            writer.writerow([number, test.words, *_cells(outcome, slo)])
    return text.getvalue()


def _cells(outcome: Outcome, slo: Slo) -> list[object]:
    failure = outcome.failure
    return [
        outcome.number,
        significant(outcome.intended_s),
        _ms(outcome.lag_s),
        _ms(outcome.ttft_s),
        _ms(outcome.tpot_s),
        _ms(max(outcome.gaps_s(), default=None)),
        _ms(outcome.e2e_s),
        outcome.prompt_tokens if outcome.counted else "",
        outcome.cached_tokens if outcome.counted else "",
        outcome.completion_tokens,
        outcome.finish_reason or "",
        200 if failure is None else failure.status or "",
        "" if failure is None else failure.label,
        int(slo.is_met(outcome)) if slo.is_given else "",
    ]


def _ms(seconds: float | None) -> float | str:
    return "" if seconds is None else significant(seconds * 1000)
