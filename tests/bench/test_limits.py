"""The plot of docs/limits.md, with a fraction of its load: it measures, and it would tell."""

import sys
import xml.etree.ElementTree as ET

import pytest

from tests.bench.limits.__main__ import admitted
from tests.bench.limits.curve import Allowed, curve
from tests.bench.limits.plot import plotted, ticks

ALLOWED = Allowed(per_s=10, burst=5)


def test_a_curve_below_its_limit() -> None:
    found = curve(4, [0.1, 0.0, 0.2], ALLOWED, 1.0)
    assert found.points == [(0.0, 1), (0.1, 2), (0.2, 3)]
    assert (found.above, found.use) == (0, 3 / 15)


def test_a_curve_above_its_limit_is_noticed() -> None:
    found = curve(1, [0.0] * 7 + [0.9], ALLOWED, 1.0)
    assert found.above == 2
    assert found.summary() == {"processes": 1, "admitted": 8, "above_limit": 2, "use": 0.5333}


def test_no_call_is_a_curve_too() -> None:
    assert curve(1, [], ALLOWED, 1.0).summary()["admitted"] == 0


def test_the_plot_is_an_svg_with_every_curve() -> None:
    text = plotted([curve(n, [0.1, 0.5], ALLOWED, 1.0) for n in (1, 4, 16)], ALLOWED, 1.0)
    root = ET.fromstring(text)
    assert root.tag.endswith("svg")
    assert text.count('class="curve"') == 3
    assert "16 processes" in text


@pytest.mark.parametrize(
    ("most", "steps"),
    [(475, [0, 100, 200, 300, 400]), (20, [0, 5, 10, 15, 20]), (1, [0, 0.2, 0.4, 0.6, 0.8, 1])],
)
def test_axes_have_round_steps(most: float, steps: list[float]) -> None:
    assert ticks(most) == pytest.approx(steps)


@pytest.mark.integration
@pytest.mark.redis
@pytest.mark.skipif(sys.platform != "linux", reason="processes are pinned")
def test_two_gateways_at_ten_times_the_allowed_load_never_admit_too_many() -> None:
    allowed = Allowed(per_s=10, burst=10)
    times = admitted(2, allowed, seconds=2.0, times=10, on=frozenset(range(1024)))
    found = curve(2, times, allowed, 2.0)
    assert found.above == 0
    assert found.use > 0.8
