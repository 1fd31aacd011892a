import random
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live.buckets import quantile

BOUNDS = (0.1, 0.5, 1.0)


@pytest.mark.parametrize(
    ("counts", "part", "value"),
    [
        ((10, 0, 0, 0), 0.5, 0.05),  # the first bucket begins at 0
        ((0, 10, 0, 0), 0.5, 0.3),
        ((0, 10, 0, 0), 1.0, 0.5),
        ((5, 0, 5, 0), 0.5, 0.1),  # exactly at the edge
        ((5, 0, 5, 0), 0.75, 0.75),
        ((0, 0, 0, 3), 0.5, 1.0),  # above the last bound: that bound
        ((9, 0, 0, 1), 0.99, 1.0),
    ],
)
def test_values_count_as_spread_evenly_within_their_bucket(
    counts: tuple[int, ...], part: float, value: float
) -> None:
    assert quantile(BOUNDS, counts, part) == pytest.approx(value)


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_it_lies_in_the_bucket_of_the_true_value(values: list[float], part: float) -> None:
    counts = [0.0] * (len(BOUNDS) + 1)
    for value in values:
        counts[bisect_left(BOUNDS, value)] += 1
    true = sorted(values)[max(0, -int(-part * len(values) // 1) - 1)]
    bucket = bisect_left(BOUNDS, true)
    lower = BOUNDS[bucket - 1] if bucket else 0.0
    assert lower <= quantile(BOUNDS, counts, part) <= BOUNDS[bucket]


def test_more_of_the_values_never_lie_below_less() -> None:
    rng = random.Random(1)
    counts = [rng.randrange(20) for _ in range(4)]
    found = [quantile(BOUNDS, counts, part / 100) for part in range(1, 101)]
    assert found == sorted(found)
