"""Given this failure: stop, or try elsewhere, and after how long? Pure.

A call is tried again only before content has reached the client, only where the failure's
class allows it, and never past the number of attempts. Waits are full jitter: anywhere between
nothing and an exponentially growing bound, which beats fixed steps when many retry at once.

Source: tenacity's `wait_random_exponential`; AWS architecture blog, "Exponential backoff and
jitter" (2015).
"""

import random
from dataclasses import dataclass

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
    """What the operator allows. `after_timeout`: work may still be running on the silent engine."""

    max_attempts: int = 3
    backoff_s: float = 0.05
    max_backoff_s: float = 2.0
    after_timeout: bool = False


# what proves that nothing ran, or will not be cured by waiting: go elsewhere at once
_AT_ONCE = (EngineUnreachable, EngineDraining, EngineMisconfigured)


def wait_before_retry_s(
    failure: GatewayError, attempts: int, rules: RetryRules, rng: random.Random
) -> float | None:
    """Seconds to wait before another replica is tried; None: the failure stands.

    `attempts` is how many were made, at least 1.
    """
    if failure.retry is Retry.NEVER or attempts >= rules.max_attempts:
        return None
    if isinstance(failure, EngineSilent) and not rules.after_timeout:
        return None
    if isinstance(failure, _AT_ONCE):
        return 0.0
    bound_s = min(rules.max_backoff_s, rules.backoff_s * 2.0 ** (attempts - 1))
    return rng.uniform(0.0, bound_s)
