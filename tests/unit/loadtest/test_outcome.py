from array import array

import pytest

from gateway.loadtest.outcome import outcome_of
from gateway.remote.answer import Answer
from gateway.remote.failure import timed_out
from gateway.wire.usage import Usage
from tests.support.outcomes import REFUSED, an_outcome


def test_latency_counts_from_the_intended_start() -> None:
    """Coordinated omission: a request sent 2 s late has waited for those 2 s."""
    answer = Answer(sent_s=107.0, ended_s=109.0, times_s=array("d", [108.0, 108.5]))
    outcome = outcome_of(3, 5.0, answer, began_s=100.0)
    assert (outcome.lag_s, outcome.ttft_s, outcome.e2e_s) == (2.0, 3.0, 4.0)
    assert outcome.gaps_s() == [0.5]


def test_tokens_are_taken_from_the_usage() -> None:
    times = array("d", [1.0, 3.0])
    counted = outcome_of(0, 0.0, Answer(0.0, 3.0, times, usage=Usage(9, 5, 4)), 0.0)
    assert (counted.prompt_tokens, counted.cached_tokens, counted.completion_tokens) == (9, 4, 5)
    assert counted.counted
    assert counted.tpot_s == 0.5
    uncounted = outcome_of(0, 0.0, Answer(0.0, 3.0, times), 0.0)
    assert (uncounted.prompt_tokens, uncounted.completion_tokens, uncounted.counted) == (
        0,
        2,
        False,
    )
    assert uncounted.tpot_s == 2.0


def test_one_token_has_no_pace_and_none_has_no_first() -> None:
    assert an_outcome(tokens=1).tpot_s is None
    none = an_outcome(tokens=0)
    assert (none.ttft_s, none.tpot_s, none.gaps_s()) == (None, None, [])
    silent = outcome_of(0, 0.0, Answer(0.0, 3.0, usage=Usage(9, 5)), 0.0)
    assert silent.tpot_s is None


def test_a_failure_is_not_whole() -> None:
    failed = outcome_of(0, 0.0, Answer(0.0, 3.0, failure=timed_out(3)), 0.0)
    assert not failed.is_whole
    assert not an_outcome(failure=REFUSED).is_whole
    assert an_outcome().is_whole
    assert an_outcome(itl_s=0.02, tokens=3).tpot_s == pytest.approx(0.02)
