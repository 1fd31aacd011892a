from gateway.loadtest.arrivals import ClosedLoop, OpenLoop, Replay
from gateway.loadtest.sweep import Verdict
from gateway.loadtest.trace import TraceEntry
from gateway.loadtest.trial import Trial, load_words
from tests.support.outcomes import a_summary, an_outcome

SUMMARY = a_summary([an_outcome()])


def test_loads_in_words() -> None:
    assert load_words(OpenLoop(2.5)) == "2.5 requests/s, poisson"
    assert load_words(ClosedLoop(8)) == "8 at a time"
    assert load_words(Replay((TraceEntry(0, 1, 1),), 2.0)) == "a trace of 1 requests at speed 2"


def test_only_a_judged_rate_is_a_point_of_a_sweep() -> None:
    point = Trial(OpenLoop(2.0), [], SUMMARY, Verdict.SUSTAINED).point
    assert point is not None
    assert point.rate_per_s == 2.0
    assert Trial(OpenLoop(2.0), [], SUMMARY).point is None
    assert Trial(ClosedLoop(2), [], SUMMARY, Verdict.SUSTAINED).point is None
    assert Trial(OpenLoop(2.0), [], SUMMARY).words == "2 requests/s, poisson"
