import pytest

from gateway.loadtest.slo import Slo
from tests.support.outcomes import REFUSED, an_outcome

OUTCOME = an_outcome(ttft_s=0.1, itl_s=0.01, tokens=5)  # whole after 140 ms


@pytest.mark.parametrize(
    ("slo", "is_met"),
    [
        (Slo(), True),
        (Slo(ttft_ms=101), True),
        (Slo(ttft_ms=99), False),
        (Slo(itl_ms=10.1), True),
        (Slo(itl_ms=9.9), False),
        (Slo(e2e_ms=141), True),
        (Slo(e2e_ms=139), False),
        (Slo(101, 10.1, 139), False),
        (Slo(101, 10.1, 141), True),
    ],
)
def test_every_promise_must_be_kept(slo: Slo, is_met: bool) -> None:
    assert slo.is_met(OUTCOME) is is_met


def test_a_failure_meets_nothing() -> None:
    assert not Slo().is_met(an_outcome(failure=REFUSED))


def test_an_answer_without_content_has_no_first_token_in_time() -> None:
    assert not Slo(ttft_ms=1000).is_met(an_outcome(tokens=0))
    assert Slo(itl_ms=1).is_met(an_outcome(tokens=1))


def test_what_was_promised_in_words() -> None:
    assert str(Slo(200, 20.5, None)) == "first token within 200 ms, between tokens within 20.5 ms"
    assert str(Slo(e2e_ms=1000)) == "whole answer within 1000 ms"
    assert (Slo().is_given, Slo(e2e_ms=0).is_given) == (False, True)
