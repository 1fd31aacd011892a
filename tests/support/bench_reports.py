"""Reports of load tests that nobody ran."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.loadtest.arrivals import Load, OpenLoop
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.report import Report
from gateway.loadtest.slo import Slo
from gateway.loadtest.sweep import Verdict, judged
from gateway.loadtest.trial import Trial
from tests.support.outcomes import REFUSED, a_summary, an_outcome

SLO = Slo(ttft_ms=150, itl_ms=20, e2e_ms=500)


def a_test(
    load: Load | None = None,
    outcomes: Sequence[Outcome] | None = None,
    *,
    slo: Slo = SLO,
    verdict: Verdict | None = None,
    is_open: bool = True,
    unfinished: int = 0,
) -> Trial:
    if outcomes is None:
        outcomes = [an_outcome(i, at_s=i / 10) for i in range(40)]
        outcomes += [an_outcome(40, at_s=4.0, failure=REFUSED)]
    summary = a_summary(outcomes, slo, is_open=is_open, unfinished=unfinished)
    return Trial(load or OpenLoop(10.0), outcomes, summary, verdict)


def a_report(*tests: Trial, **changes: object) -> Report:
    report = Report(
        url="http://h:8000",
        model="m",
        operation="chat",
        prompts={"prompts": "synthetic", "prompt_tokens": "256"},
        seed="7",
        slo=SLO,
        at="2026-11-25T12:00:00+00:00",
        tool="sluicegate 0",
        tests=tests or (a_test(),),
    )
    return replace(report, **changes)  # type: ignore[arg-type]


def a_sweep(**changes: object) -> Report:
    """Two rates that are sustained, and one that is not: its queue grows."""
    tests = []
    for rate in (4.0, 1.0, 2.0):
        later = 0.05 if rate == 4.0 else 0.0
        outcomes = [an_outcome(i, at_s=i / rate, ttft_s=0.1 + later * i) for i in range(60)]
        verdict = judged(a_summary(outcomes), 0.99)
        tests.append(a_test(OpenLoop(rate), outcomes, verdict=verdict))
    return a_report(*tests, is_sweep=True, **changes)
