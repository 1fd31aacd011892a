import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sizing.units import GIB, ceil_div, gib, round_up


@given(st.integers(0, 10**12), st.integers(1, 10**6))
def test_so_many_hold_it_and_one_fewer_does_not(amount: int, size: int) -> None:
    count = ceil_div(amount, size)
    assert count * size >= amount > (count - 1) * size
    assert round_up(amount, size) == count * size


def test_a_gib_is_two_to_the_thirtieth() -> None:
    assert gib(GIB * 1.5) == pytest.approx(1.5)
