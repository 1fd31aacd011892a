import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.discovery.backoff import backoff_s


@given(st.integers(0, 10_000), st.integers())
def test_it_grows_to_a_bound_and_differs_by_chance(failures: int, seed: int) -> None:
    waited = backoff_s(failures, random.Random(seed))
    bound = min(15.0, 0.4 * 2.0 ** min(failures, 16))
    assert bound / 2 <= waited <= bound
