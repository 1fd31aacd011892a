import pytest

from gateway.config.access import Rates
from gateway.limits.bucket import Bucket, Scope
from gateway.limits.refusals import rate_limited, too_small
from gateway.limits.rules import buckets_for


def a_bucket(scope: Scope = Scope.KEY, owner: str = "team", **rates: object) -> Bucket:
    (bucket,) = buckets_for(scope, owner, Rates.model_validate(rates))
    return bucket


@pytest.mark.parametrize(
    ("bucket", "told"),
    [
        (
            a_bucket(requests_per_minute=60),
            'rate limit reached for your key "team" on requests per minute: '
            "limit 60, used 10, requested 2; try again in 1.5s",
        ),
        (
            a_bucket(tokens_per_day=86400, burst={"tokens_per_day": 100}),
            'rate limit reached for your key "team" on tokens per day: '
            "limit 86400 (at most 100 at once), used 10, requested 2; try again in 1.5s",
        ),
        (
            a_bucket(Scope.MODEL, "llama", requests_per_hour=3600),
            'rate limit reached for everybody who uses model "llama" on requests per hour: '
            "limit 3600, used 10, requested 2; try again in 1.5s",
        ),
        (
            a_bucket(Scope.VARIANT, "llama:fp8", requests_per_hour=3600),
            'rate limit reached for everybody who uses "llama:fp8" on requests per hour: '
            "limit 3600, used 10, requested 2; try again in 1.5s",
        ),
    ],
)
def test_a_refusal_names_the_limit_the_use_and_the_wait(bucket: Bucket, told: str) -> None:
    error = rate_limited(bucket, 10 * bucket.interval_us, 2, 1.5)
    assert error.public == told
    assert error.retry_after_s == 1.5
    assert error.is_for_key is (bucket.scope is Scope.KEY)
    assert error.type == bucket.measure.value


def test_slots_have_no_use_to_count() -> None:
    error = rate_limited(a_bucket(concurrent_requests=3), 3, 1, 0.25)
    assert error.public == (
        'rate limit reached for your key "team" on concurrent requests: '
        "limit 3, all in use; try again in 250ms"
    )
    assert error.type == "requests"


def test_a_wait_is_never_nothing() -> None:
    assert rate_limited(a_bucket(requests_per_minute=60), 0, 1, 0).retry_after_s == 0.001


def test_a_request_that_never_fits_is_told_so_and_not_to_try_again() -> None:
    error = too_small(a_bucket(tokens_per_minute=60), 100)
    assert error.public == (
        'this request is larger than its limit for your key "team" on tokens per minute: '
        "limit 60, requested 100; send a shorter prompt or ask for fewer tokens (max_tokens)"
    )
    assert error.should_retry is False
    assert error.retry_after_s is None
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "tokens")
