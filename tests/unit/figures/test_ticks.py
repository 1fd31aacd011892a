import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.figures.ticks import linear_ticks, log_ticks, tick_text


def test_marks_are_round() -> None:
    assert linear_ticks(0, 100) == (0, 20, 40, 60, 80, 100)
    assert linear_ticks(0, 7.3) == (0, 2, 4, 6, 8)
    assert linear_ticks(0, 0) == (0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert linear_ticks(5, 5)[0] == 5


@given(st.floats(-1e5, 1e5), st.floats(0.001, 1e6))
def test_marks_span_the_values_and_are_few(low: float, width: float) -> None:
    ticks = linear_ticks(low, low + width)
    slack = 1e-6 * max(1, abs(low), width)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert 2 <= len(ticks) <= 12


@given(st.floats(1e-3, 1e5), st.floats(1.0, 1e4))
def test_marks_of_a_logarithmic_axis_span_the_values(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert ticks[0] <= low * 1.001
    assert ticks[-1] >= low * ratio * 0.999
    assert len(ticks) >= 2


def test_few_decades_get_marks_between() -> None:
    assert log_ticks(3, 80) == (2, 5, 10, 20, 50, 100)
    assert log_ticks(1, 1e6) == (1, 10, 100, 1e3, 1e4, 1e5, 1e6)
    assert log_ticks(10, 10) == (10, 20)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (20.0, "20"), (1500, "1,500"), (2e6, "2e6"), (0.00002, "2e-5")],
)
def test_marks_are_written_short(value: float, text: str) -> None:
    assert tick_text(value) == text
