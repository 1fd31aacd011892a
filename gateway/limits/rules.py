"""From what an operator wrote to buckets. Pure."""

from typing import Final

from gateway.config.access import Rates
from gateway.limits.bucket import Bucket, Measure, Scope

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400

RULES: Final = {
    "requests_per_minute": (Measure.REQUESTS, _MINUTE_S),
    "requests_per_hour": (Measure.REQUESTS, _HOUR_S),
    "requests_per_day": (Measure.REQUESTS, _DAY_S),
    "tokens_per_minute": (Measure.TOKENS, _MINUTE_S),
    "tokens_per_hour": (Measure.TOKENS, _HOUR_S),
    "tokens_per_day": (Measure.TOKENS, _DAY_S),
    "concurrent_requests": (Measure.CONCURRENT, 0),
}


def buckets_for(scope: Scope, owner: str, rates: Rates) -> tuple[Bucket, ...]:
    """One for each number that is given."""
    buckets = []
    for rule, (measure, period_s) in RULES.items():
        limit = getattr(rates, rule)
        if limit is not None:
            burst = getattr(rates.burst, rule, None) or limit
            buckets.append(Bucket(scope, owner, rule, measure, limit, period_s, burst))
    return tuple(buckets)
