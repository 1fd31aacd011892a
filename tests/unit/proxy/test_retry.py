import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    ClientGone,
    EngineDraining,
    EngineFault,
    EngineMisconfigured,
    EngineOverloaded,
    EngineRefused,
    EngineSilent,
    EngineUnreachable,
    GatewayError,
    InvalidRequest,
    StreamBroken,
)
from gateway.proxy.retry import RetryRules, wait_before_retry_s

RULES = RetryRules(max_attempts=3, backoff_s=0.1, max_backoff_s=1.0)


@pytest.mark.parametrize(
    "failure",
    [
        InvalidRequest("x"),
        EngineRefused("x", status=422),
        ClientGone("x"),
        StreamBroken("x"),
    ],
)
def test_what_another_replica_cannot_cure_is_never_tried_again(failure: GatewayError) -> None:
    assert wait_before_retry_s(failure, 1, RULES, random.Random(1)) is None


@pytest.mark.parametrize(
    "failure", [EngineUnreachable("x"), EngineDraining("x"), EngineMisconfigured("x")]
)
def test_what_proves_that_nothing_ran_goes_elsewhere_at_once(failure: GatewayError) -> None:
    assert wait_before_retry_s(failure, 1, RULES, random.Random(1)) == 0.0


def test_the_last_attempt_is_the_last() -> None:
    assert wait_before_retry_s(EngineUnreachable("x"), 3, RULES, random.Random(1)) is None


def test_a_silent_engine_may_still_be_working_so_the_operator_decides() -> None:
    allowing = RetryRules(after_timeout=True)
    assert wait_before_retry_s(EngineSilent("x"), 1, RULES, random.Random(1)) is None
    assert wait_before_retry_s(EngineSilent("x"), 1, allowing, random.Random(1)) is not None


@given(attempts=st.integers(1, 50), seed=st.integers())
def test_waits_stay_between_nothing_and_the_growing_bound(attempts: int, seed: int) -> None:
    rules = RetryRules(max_attempts=100, backoff_s=0.05, max_backoff_s=2.0)
    for failure in (EngineFault("x"), EngineOverloaded("x")):
        wait_s = wait_before_retry_s(failure, attempts, rules, random.Random(seed))
        assert wait_s is not None
        assert 0 <= wait_s <= min(2.0, 0.05 * 2 ** (attempts - 1))
