"""One limit, as arithmetic. Pure.

A rate is a token bucket, kept as one moment (GCRA, the generic cell rate algorithm): when it
will be full again. `lack_us` is how far away that is: 0 for a full bucket, `capacity_us` for an
empty one, more for one in debt. Taking moves the moment later, time and returns bring it nearer,
and nothing drifts. A limit on requests at the same time has slots instead, which are counted.

Source: ATM Forum Traffic Management 4.0, section 4.4.2 (GCRA as virtual scheduling).
"""

from enum import StrEnum
from typing import Final

# less than this is no wait: what rounding leaves over when somebody has waited just as told
ROUNDING_US: Final = 0.5


class Measure(StrEnum):
    """What a bucket counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent_requests"


class Scope(StrEnum):
    """Whom a bucket limits: one key, or everybody who asks for a model or a variant of it."""

    KEY = "key"
    MODEL = "model"
    VARIANT = "variant"


class Bucket:
    """A limit. `period_s` 0: `limit` slots at the same time; else `limit` units in `period_s`.

    `burst` is what a full bucket holds, in units. `rule` is the limit's name in the
    configuration, such as `tokens_per_minute`. Never changed; a plain class, as its attributes
    are read a dozen times for each request.
    """

    __slots__ = (
        "burst",
        "capacity_us",
        "interval_us",
        "is_slots",
        "is_tokens",
        "key",
        "limit",
        "measure",
        "owner",
        "period_s",
        "rule",
        "scope",
    )

    def __init__(
        self,
        scope: Scope,
        owner: str,
        rule: str,
        measure: Measure,
        limit: int,
        period_s: int,
        burst: int,
    ) -> None:
        """`interval_us` is the time one unit takes to come back."""
        self.scope = scope
        self.owner = owner
        self.rule = rule
        self.measure = measure
        self.limit = limit
        self.period_s = period_s
        self.burst = burst
        self.key = f"{scope.value}/{owner}/{rule}"
        self.is_slots = period_s == 0
        self.is_tokens = measure is Measure.TOKENS
        self.interval_us = period_s * 1e6 / limit
        self.capacity_us = self.interval_us * burst


def lack_after_us(bucket: Bucket, lack_us: float, units: float) -> float:
    """The lack once `units` are taken (or, negative, returned) without being asked.

    A bucket goes into debt by what it holds at most: what is above that is forgiven.
    """
    lack = lack_us + units * bucket.interval_us
    if units > 0:
        return max(lack_us, min(lack, 2 * bucket.capacity_us))
    return max(0.0, lack)


def left(bucket: Bucket, lack: float) -> int:
    """Whole units, or slots, that can be taken now. `lack` is taken slots for a bucket of slots."""
    if bucket.is_slots:
        return max(0, bucket.limit - int(lack))
    return max(0, int((bucket.capacity_us - lack + ROUNDING_US) / bucket.interval_us))
