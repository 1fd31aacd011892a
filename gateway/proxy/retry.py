"""Given this failure: try elsewhere after how long, or why not? Pure.

A call is tried again only before content has reached the client, and only where the failure's
class allows it. Then five things may still say no: the number of attempts, an engine that was
silent and may be working, the call's deadline, the model's budget for retries, and the rules
themselves. Waits are full jitter: anywhere between nothing and an exponentially growing bound,
which beats fixed steps when many retry at once.

The pieces are tenacity's (`retry_if…`, `stop_…`, `wait_…`) and ours in its shape; its loop is
not used, because the call's own loop reserves and leases between two tries. Randomness comes in
as an argument, where tenacity's `wait_random_exponential` would take the process's own.

Source: tenacity; AWS architecture blog, "Exponential backoff and jitter" (2015).
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tenacity import (
    Future,
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_not_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
)

from gateway.errors import (
    EngineDraining,
    EngineMisconfigured,
    EngineSilent,
    EngineUnreachable,
    GatewayError,
    Retry,
)


@dataclass(frozen=True, slots=True)
class RetryRules:
    """What the operator allows. `after_timeout`: work may still be running on the silent engine.

    `budget_ratio` and `budget_floor`: how many retries a model has, see `budget`.
    """

    max_attempts: int = 3
    backoff_s: float = 0.05
    max_backoff_s: float = 2.0
    budget_ratio: float = 0.2
    budget_floor: int = 10
    after_timeout: bool = False


class Stop(StrEnum):
    """Why a call is not tried again. `FINAL`: another replica would not, or must not, be asked."""

    FINAL = "final"
    ATTEMPTS = "attempts"
    DEADLINE = "deadline"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Failed:
    """A call whose last try has failed. `attempts`: how many were made, at least 1.

    `since_s`, `now_s` and `deadline_s` are on one clock. `has_budget`: a retry is left.
    """

    failure: GatewayError
    attempts: int
    since_s: float
    now_s: float
    deadline_s: float
    has_budget: bool = True


# what proves that nothing ran, or will not be cured by waiting: go elsewhere at once
_AT_ONCE: Final = (EngineUnreachable, EngineDraining, EngineMisconfigured)
# tenacity's pieces ask for it; nothing runs in it
_NO_LOOP: Final = Retrying()


def decide(failed: Failed, rules: RetryRules, rng: random.Random) -> float | Stop:
    """Seconds to wait before another replica is tried, or why the failure stands."""
    state = _state(failed)
    if not _is_curable(state):
        return Stop.FINAL
    if not rules.after_timeout and not _has_surely_ended(state):
        return Stop.FINAL
    if stop_after_attempt(rules.max_attempts)(state):
        return Stop.ATTEMPTS
    if not isinstance(failed.failure, _AT_ONCE):
        bound = wait_exponential(multiplier=rules.backoff_s, max=rules.max_backoff_s)
        state.upcoming_sleep = rng.uniform(0.0, bound(state))
    if stop_before_delay(failed.deadline_s - failed.since_s)(state):
        return Stop.DEADLINE
    if costs_budget(failed.failure) and not failed.has_budget:
        return Stop.BUDGET
    return state.upcoming_sleep


def costs_budget(failure: GatewayError) -> bool:
    """Whether trying again adds load: an engine that is gone, or is going, has had none yet."""
    return not isinstance(failure, EngineUnreachable | EngineDraining)


_is_curable: Final = retry_if_exception(
    lambda failure: isinstance(failure, GatewayError) and failure.retry is Retry.ELSEWHERE
)
_has_surely_ended: Final = retry_if_not_exception_type(EngineSilent)


def _state(failed: Failed) -> RetryCallState:
    """The same in tenacity's words."""
    state = RetryCallState(_NO_LOOP, None, (), {})
    state.attempt_number = failed.attempts
    state.start_time = failed.since_s
    state.outcome = Future(failed.attempts)
    state.outcome.set_exception(failed.failure)
    state.outcome_timestamp = failed.now_s
    return state
