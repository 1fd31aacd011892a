import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.access import Rates
from gateway.limits.bucket import (
    ROUNDING_US,
    Bucket,
    Measure,
    Scope,
    lack_after_us,
    left,
)
from gateway.limits.memory_store import MemoryStore
from gateway.limits.rules import buckets_for
from gateway.limits.store import Refusal
from tests.support.fake_clock import FakeClock


def a_bucket(limit: int = 60, burst: int = 10) -> Bucket:
    return Bucket(Scope.KEY, "k", "requests_per_minute", Measure.REQUESTS, limit, 60, burst)


def over_us(bucket: Bucket, lack_us: float, cost: float) -> float:
    """How long a store lets wait for `cost`; 0 when there is enough."""
    store = MemoryStore(FakeClock(0.0))
    store.begin([(bucket, lack_us)], [])
    verdict = store.decide(((bucket, cost),))
    return verdict.wait_us if isinstance(verdict, Refusal) else 0.0


(SLOTS,) = buckets_for(Scope.KEY, "k", Rates(concurrent_requests=3))
BUCKET = a_bucket()
buckets = st.builds(a_bucket, st.integers(1, 10**9), st.integers(1, 10**9))


def test_a_bucket_knows_its_name_and_its_times() -> None:
    assert BUCKET.key == "key/k/requests_per_minute"
    assert (BUCKET.interval_us, BUCKET.capacity_us) == (1e6, 10e6)
    assert not BUCKET.is_slots
    assert SLOTS.is_slots


@pytest.mark.parametrize(
    ("lack_us", "cost", "wait_us"),
    [(0, 10, 0), (0, 11, 1e6), (9e6, 1, 0), (10e6, 1, 1e6), (10e6, 0, 0), (20e6, 1, 11e6)],
)
def test_how_long_until_there_is_enough(lack_us: float, cost: float, wait_us: float) -> None:
    assert over_us(BUCKET, lack_us, cost) == wait_us


def test_what_rounding_leaves_is_no_wait() -> None:
    assert over_us(BUCKET, 9e6 + ROUNDING_US, 1) == 0


@pytest.mark.parametrize(
    ("lack_us", "units", "after_us"),
    [
        (0, 3, 3e6),
        (3e6, -3, 0),
        (3e6, -4, 0),
        (10e6, 5, 15e6),
        (10e6, 500, 20e6),
        (25e6, 5, 25e6),  # deeper in debt than it may get: no deeper
        (25e6, -5, 20e6),
        (5e6, 0, 5e6),
    ],
)
def test_taking_and_returning(lack_us: float, units: float, after_us: float) -> None:
    assert lack_after_us(BUCKET, lack_us, units) == after_us


@pytest.mark.parametrize(
    ("lack_us", "units"), [(0, 10), (1, 9), (1e6, 9), (9.5e6, 0), (10e6, 0), (15e6, 0)]
)
def test_what_is_left_in_whole_units(lack_us: float, units: int) -> None:
    assert left(BUCKET, lack_us) == units


@pytest.mark.parametrize(("taken", "free"), [(0, 3), (2, 1), (3, 0), (4, 0)])
def test_what_is_left_of_slots(taken: int, free: int) -> None:
    assert left(SLOTS, taken) == free


@given(buckets, st.floats(0, 2), st.floats(0, 1))
def test_whoever_waits_as_told_gets_what_they_asked_for(
    bucket: Bucket, lack: float, share: float
) -> None:
    lack_us, cost = lack * bucket.capacity_us, max(1, int(share * bucket.burst))
    wait_us = over_us(bucket, lack_us, cost)
    assert over_us(bucket, max(0.0, lack_us - wait_us), cost) <= bucket.capacity_us * 1e-9


@given(buckets, st.integers(1, 10**9))
def test_what_is_left_can_be_taken_and_one_more_cannot(bucket: Bucket, taken: int) -> None:
    lack_us = min(taken, bucket.burst) * bucket.interval_us
    rest = left(bucket, lack_us)
    assert over_us(bucket, lack_us, rest) <= bucket.capacity_us * 1e-9
    assert over_us(bucket, lack_us, rest + 1) > 0
