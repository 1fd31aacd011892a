"""What a caller is told when a limit refuses: which, how much, and how long to wait. Pure."""

from typing import Final

from gateway.errors import LimitTooSmall, RateLimited
from gateway.limits.bucket import Bucket, Measure, Scope, left
from gateway.wire.rate_limit import go_duration

_SCOPES: Final = {
    Scope.KEY: "for your key",
    Scope.MODEL: "for everybody who uses model",
    Scope.VARIANT: "for everybody who uses",
}
_PERIODS: Final = {60: "minute", 3600: "hour", 86400: "day"}


def rate_limited(bucket: Bucket, lack: float, cost: float, wait_s: float) -> RateLimited:
    """The bucket has not got `cost`; `lack` as a store tells it. Trying again after `wait_s`."""
    wait_s = max(0.001, wait_s)
    if bucket.is_slots:
        use = f"limit {bucket.limit}, all in use"
    else:
        used = bucket.burst - left(bucket, lack)
        use = f"{_size(bucket)}, used {used}, requested {cost:.0f}"
    told = f"rate limit reached {_what(bucket)}: {use}; try again in {go_duration(wait_s).decode()}"
    return RateLimited(
        told, type=_type(bucket), is_for_key=bucket.scope is Scope.KEY, retry_after_s=wait_s
    )


def too_small(bucket: Bucket, cost: float) -> LimitTooSmall:
    """The bucket can never have `cost`."""
    told = (
        f"this request is larger than its limit {_what(bucket)}: {_size(bucket)}, "
        f"requested {cost:.0f}; send a shorter prompt or ask for fewer tokens (max_tokens)"
    )
    return LimitTooSmall(told, type=_type(bucket), is_for_key=bucket.scope is Scope.KEY)


def _what(bucket: Bucket) -> str:
    owner = f' "{bucket.owner}"'
    if bucket.is_slots:
        return f"{_SCOPES[bucket.scope]}{owner} on concurrent requests"
    return f"{_SCOPES[bucket.scope]}{owner} on {bucket.measure} per {_PERIODS[bucket.period_s]}"


def _size(bucket: Bucket) -> str:
    more = "" if bucket.burst == bucket.limit else f" (at most {bucket.burst} at once)"
    return f"limit {bucket.limit}{more}"


def _type(bucket: Bucket) -> str:
    return "tokens" if bucket.measure is Measure.TOKENS else "requests"
