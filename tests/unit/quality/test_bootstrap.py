import random

import pytest

from gateway.quality.bootstrap import mcnemar, proportion, ratio


def rng() -> random.Random:
    return random.Random(5)


def test_a_ratio_is_of_sums_not_of_prompts() -> None:
    estimate = ratio([(1.0, 1.0), (0.0, 9.0)], rng())
    assert estimate is not None
    assert estimate.value == 0.1
    assert estimate.prompts == 2
    assert 0 <= estimate.low <= 0.1 <= estimate.high <= 1


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    drawn = random.Random(1)
    covered = 0
    for _ in range(30):
        shares = [(drawn.gauss(1.0, 0.5), 1.0) for _ in range(40)]
        estimate = ratio(shares, drawn)
        assert estimate is not None
        covered += estimate.low <= 1.0 <= estimate.high
    assert 25 <= covered <= 30


def test_more_prompts_make_it_surer() -> None:
    def width(count: int) -> float:
        estimate = ratio([(float(i % 2), 1.0) for i in range(count)], rng())
        assert estimate is not None
        return estimate.high - estimate.low

    assert width(400) < width(40) / 2


def test_a_mean_of_logarithms_is_told_as_a_factor() -> None:
    estimate = ratio([(0.0, 1.0), (0.0, 1.0)], rng(), is_log=True)
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == (1, 1, 1)
    huge = ratio([(1e9, 1.0)], rng(), is_log=True)
    assert huge is not None
    assert huge.value > 1e300


def test_prompts_that_weigh_nothing_are_passed_over() -> None:
    assert ratio([], rng()) is None
    assert ratio([(1.0, 0.0)], rng()) is None
    estimate = ratio([(1.0, 0.0), (1.0, 2.0)], rng())
    assert estimate is not None
    assert estimate.prompts == 1


def test_all_of_a_few_is_not_certainty() -> None:
    few, none = proportion(10, 10), proportion(0, 10)
    assert few is not None
    assert none is not None
    assert (few.value, few.high) == (1.0, 1.0)
    assert few.low == pytest.approx(0.722, abs=0.001)
    assert none.high == pytest.approx(0.278, abs=0.001)
    assert proportion(0, 0) is None


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 0.00195), (8, 2, 0.109)]
)
def test_uneven_splits_are_unlikely(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p, abs=0.001)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


def test_a_large_uneven_split_is_no_chance() -> None:
    assert mcnemar(5000, 4000) < 1e-9
