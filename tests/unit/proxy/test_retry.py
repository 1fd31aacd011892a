import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.errors import (
    ClientGone,
    ConnectionLost,
    DeadlineExceeded,
    EngineDraining,
    EngineFault,
    EngineMisconfigured,
    EngineOverloaded,
    EngineRefused,
    EngineSilent,
    EngineUnreachable,
    GatewayError,
    InvalidRequest,
    NoReplica,
    RateLimited,
    Retry,
    StreamBroken,
    StreamStalled,
)
from gateway.proxy.retry import Failed, RetryRules, Stop, costs_budget, decide

RULES = RetryRules(max_attempts=3, backoff_s=0.1, max_backoff_s=1.0)
ELSEWHERE = [
    EngineUnreachable("x"),
    ConnectionLost("x"),
    EngineOverloaded("x"),
    EngineDraining("x"),
    EngineFault("x"),
    EngineMisconfigured("x"),
]


def failed(
    failure: GatewayError | None = None,
    attempts: int = 1,
    *,
    now_s: float = 1001.0,
    deadline_s: float = 1900.0,
    has_budget: bool = True,
) -> Failed:
    return Failed(
        failure or EngineFault("x"),
        attempts,
        since_s=1000.0,
        now_s=now_s,
        deadline_s=deadline_s,
        has_budget=has_budget,
    )


def decided(it: Failed, rules: RetryRules = RULES, seed: int = 1) -> float | Stop:
    return decide(it, rules, random.Random(seed))


@pytest.mark.parametrize(
    "failure",
    [
        InvalidRequest("x"),
        EngineRefused("x", status=422),
        RateLimited("x"),
        ClientGone("x"),
        StreamBroken("x"),
        StreamStalled("x"),
        DeadlineExceeded("x"),
        NoReplica("x"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_another_replica_cannot_cure_is_never_tried_again(failure: GatewayError) -> None:
    assert decided(failed(failure)) is Stop.FINAL


@pytest.mark.parametrize("failure", ELSEWHERE, ids=lambda failure: type(failure).__name__)
def test_what_an_engine_did_before_content_goes_elsewhere(failure: GatewayError) -> None:
    assert isinstance(decided(failed(failure)), float)


@pytest.mark.parametrize(
    "failure", [EngineUnreachable("x"), EngineDraining("x"), EngineMisconfigured("x")]
)
def test_what_proves_that_nothing_ran_goes_elsewhere_at_once(failure: GatewayError) -> None:
    assert decided(failed(failure)) == 0.0


def test_the_last_attempt_is_the_last() -> None:
    assert decided(failed(EngineUnreachable("x"), 2)) == 0.0
    assert decided(failed(EngineUnreachable("x"), 3)) is Stop.ATTEMPTS


def test_a_silent_engine_may_still_be_working_so_the_operator_decides() -> None:
    allowing = RetryRules(after_timeout=True)
    assert decided(failed(EngineSilent("x"))) is Stop.FINAL
    assert isinstance(decided(failed(EngineSilent("x")), allowing), float)


def test_nobody_waits_past_the_deadline() -> None:
    in_time = failed(EngineUnreachable("x"), now_s=1009.99, deadline_s=1010.0)
    too_late = failed(EngineUnreachable("x"), now_s=1010.0, deadline_s=1010.0)
    assert decided(in_time) == 0.0
    assert decided(too_late) is Stop.DEADLINE


def test_a_wait_that_would_end_after_the_deadline_does_not_begin() -> None:
    it = failed(EngineOverloaded("x"), 2, now_s=1009.99, deadline_s=1010.0)
    patient = RetryRules(backoff_s=1.0)
    verdicts = {type(decided(it, patient, seed)) for seed in range(200)}
    waits = [w for w in (decided(it, patient, seed) for seed in range(200)) if isinstance(w, float)]
    assert verdicts == {float, Stop}
    assert all(wait_s < 0.011 for wait_s in waits)


def test_without_budget_what_may_have_cost_an_engine_is_not_tried_again() -> None:
    for failure in ELSEWHERE:
        verdict = decided(failed(failure, has_budget=False))
        assert (verdict is Stop.BUDGET) == costs_budget(failure)


def test_after_an_engine_that_is_gone_or_going_the_next_try_is_no_extra_load() -> None:
    assert [type(failure) for failure in ELSEWHERE if not costs_budget(failure)] == [
        EngineUnreachable,
        EngineDraining,
    ]


def test_with_backoff_turned_off_nobody_waits() -> None:
    at_once = RetryRules(backoff_s=0.0, max_backoff_s=0.0)
    assert decided(failed(EngineFault("x")), at_once) == 0.0


@given(attempts=st.integers(1, 50), seed=st.integers())
def test_waits_stay_between_nothing_and_the_growing_bound(attempts: int, seed: int) -> None:
    rules = RetryRules(max_attempts=100, backoff_s=0.05, max_backoff_s=2.0)
    for failure in (EngineFault("x"), EngineOverloaded("x")):
        wait_s = decided(failed(failure, attempts), rules, seed)
        assert isinstance(wait_s, float)
        assert 0 <= wait_s <= min(2.0, 0.05 * 2 ** (attempts - 1))


NAMED = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, GatewayError)
    and kind is not errors.ConfigInvalid
]


@given(
    kind=st.sampled_from(NAMED),
    attempts=st.integers(1, 12),
    most=st.integers(1, 10),
    now_s=st.floats(1000, 3000),
    allowed_s=st.floats(0, 2000),
    has_budget=st.booleans(),
    after_timeout=st.booleans(),
    seed=st.integers(),
)
def test_a_retry_keeps_every_rule_at_once(
    kind: type[GatewayError],
    attempts: int,
    most: int,
    now_s: float,
    allowed_s: float,
    has_budget: bool,
    after_timeout: bool,
    seed: int,
) -> None:
    rules = RetryRules(max_attempts=most, after_timeout=after_timeout)
    failure = kind("x")
    it = failed(
        failure, attempts, now_s=now_s, deadline_s=1000.0 + allowed_s, has_budget=has_budget
    )
    verdict = decided(it, rules, seed)
    assert verdict == decided(it, rules, seed), "the same in, the same out"
    if isinstance(verdict, float):
        assert failure.retry is Retry.ELSEWHERE
        assert attempts < most
        assert now_s - 1000.0 + verdict < allowed_s
        assert has_budget or isinstance(failure, EngineUnreachable)
        assert after_timeout or not isinstance(failure, EngineSilent)
