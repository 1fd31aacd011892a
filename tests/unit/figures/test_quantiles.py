import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.figures.quantiles import cumulative, quantile, significant, spread_of

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert quantile([1.0, 2.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 4.0], 0.75) == 3.0
    assert quantile([7.0], 0.99) == 7.0


@given(NUMBERS)
def test_quantiles_are_those_of_the_standard_library(values: list[float]) -> None:
    values.sort()
    if len(values) > 1:
        expected = statistics.quantiles(values, n=100, method="inclusive")
        for percent in (1, 50, 90, 99):
            assert quantile(values, percent / 100) == pytest.approx(expected[percent - 1], abs=1e-6)
    assert (quantile(values, 0), quantile(values, 1)) == (values[0], values[-1])


@given(NUMBERS)
def test_a_spread_is_in_order(values: list[float]) -> None:
    spread = spread_of(values)
    assert spread is not None
    parts = [spread.min, spread.p50, spread.p90, spread.p95, spread.p99, spread.max]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(parts))
    assert spread.count == len(values)
    assert spread.mean == pytest.approx(statistics.fmean(values), abs=1e-6)


def test_nothing_has_no_spread() -> None:
    assert spread_of([]) is None


def test_a_spread_as_data_is_rounded() -> None:
    spread = spread_of([1 / 3])
    assert spread is not None
    assert spread.as_dict() == dict.fromkeys(
        ("mean", "min", "p50", "p90", "p95", "p99", "max"), 0.333333
    ) | {"count": 1}


def test_a_distribution_goes_from_none_to_all() -> None:
    assert cumulative([]) == ()
    assert cumulative([5.0]) == ((5.0, 0.0), (5.0, 100.0))
    points = cumulative(range(1000), points=10)
    assert len(points) == 11
    assert (points[0], points[5], points[-1]) == ((0, 0), (499.5, 50), (999, 100))


def test_six_digits_are_kept() -> None:
    assert significant(1234.56789) == 1234.57
    assert significant(0.00012345678) == 0.000123457
    assert significant(12345678) == 12345678
    assert math.isinf(significant(math.inf))
