import pytest

from gateway.queueing.refusals import Refused, refusal, waking_refusal
from tests.support.configs import a_catalog


@pytest.mark.parametrize("why", Refused)
def test_the_client_is_told_what_and_when(why: Refused) -> None:
    variant = a_catalog().models["m"].variants[0]
    told = refusal(variant, why, 7.25)
    assert told.public.startswith('every replica of "m" is busy')
    assert "try again after 7.2 s" in told.public
    assert (told.status, told.code, told.retry_after_s) == (503, "server_overloaded", 7.25)


@pytest.mark.parametrize(("gone_s", "after_s"), [(None, 1.0), (0.001, 0.5), (1e9, 60.0)])
def test_the_wait_is_bounded(gone_s: float | None, after_s: float) -> None:
    variant = a_catalog().models["m"].variants[0]
    assert refusal(variant, Refused.FULL, gone_s).retry_after_s == after_s


@pytest.mark.parametrize("why", Refused)
def test_where_engines_are_away_nothing_is_said_of_being_busy(why: Refused) -> None:
    variant = a_catalog().models["m"].variants[0]
    told = waking_refusal(variant, why)
    assert told.public.startswith('"m" is being started, and ')
    assert (told.status, told.code, told.retry_after_s) == (503, "model_waking", 10.0)
