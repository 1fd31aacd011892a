import itertools
import random
import statistics

import pytest

from gateway.loadtest.arrivals import Arrival, Extent, OpenLoop, Replay, starts
from gateway.loadtest.trace import TraceEntry


def times(load: OpenLoop | Replay, extent: Extent, seed: int = 1) -> list[float]:
    return list(starts(load, extent, random.Random(seed)))


def gaps(arrival: Arrival, burstiness: float = 0.25) -> list[float]:
    load = OpenLoop(10.0, arrival, burstiness)
    return [b - a for a, b in itertools.pairwise(times(load, Extent(requests=40_001)))]


def variation(values: list[float]) -> float:
    """The squared coefficient of variation."""
    return statistics.pvariance(values) / statistics.fmean(values) ** 2


def test_constant_gaps_are_all_the_same() -> None:
    assert times(OpenLoop(4.0, "constant"), Extent(requests=4)) == [0, 0.25, 0.5, 0.75]


def test_the_hundred_thousandth_constant_start_has_not_drifted() -> None:
    assert times(OpenLoop(3.0, "constant"), Extent(requests=100_000))[-1] == 99_999 / 3


@pytest.mark.parametrize(("arrival", "expected"), [("poisson", 1.0), ("bursty", 4.0)])
def test_the_mean_is_the_rate_and_the_spread_is_as_told(arrival: Arrival, expected: float) -> None:
    found = gaps(arrival)
    assert statistics.fmean(found) == pytest.approx(0.1, rel=0.05)
    assert variation(found) == pytest.approx(expected, rel=0.1)


def test_a_high_shape_is_almost_constant() -> None:
    assert variation(gaps("bursty", burstiness=100)) == pytest.approx(0.01, rel=0.1)


def test_the_same_seed_draws_the_same() -> None:
    load, extent = OpenLoop(5.0), Extent(requests=50)
    assert times(load, extent) == times(load, extent)
    assert times(load, extent) != times(load, extent, seed=2)


def test_load_ends_at_its_count_or_its_time() -> None:
    load = OpenLoop(10.0, "constant")
    assert len(times(load, Extent(duration_s=1.0))) == 10
    assert len(times(load, Extent(requests=3, duration_s=1.0))) == 3
    assert len(times(load, Extent(requests=30, duration_s=1.0))) == 10


def test_a_trace_is_replayed_at_its_pace_or_another() -> None:
    entries = tuple(TraceEntry(at_s, 1, 1) for at_s in (0.0, 1.0, 5.0))
    assert times(Replay(entries), Extent()) == [0, 1, 5]
    assert times(Replay(entries, speed=2.0), Extent(duration_s=2.0)) == [0, 0.5]
