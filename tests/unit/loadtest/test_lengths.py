import random
import statistics

import pytest

from gateway.loadtest.lengths import read_length
from gateway.remote.wrong_input import WrongInput


def drawn(text: str, count: int = 4000) -> list[int]:
    rng = random.Random(3)
    length = read_length(text, "--x")
    assert str(length) == text
    return [length.draw(rng) for _ in range(count)]


def test_a_number_is_always_itself() -> None:
    assert set(drawn("512", 10)) == {512}


def test_uniform_lengths_reach_both_ends() -> None:
    assert set(drawn("uniform:3,5")) == {3, 4, 5}


def test_normal_lengths_are_never_below_one() -> None:
    lengths = drawn("normal:100,20")
    assert statistics.fmean(lengths) == pytest.approx(100, rel=0.02)
    assert statistics.pstdev(lengths) == pytest.approx(20, rel=0.05)
    assert min(drawn("normal:2,50")) == 1


def test_the_median_of_lognormal_lengths_is_as_told() -> None:
    lengths = drawn("lognormal:100,0.6")
    assert statistics.median(lengths) == pytest.approx(100, rel=0.05)
    assert statistics.fmean(lengths) > 110


@pytest.mark.parametrize(
    "text",
    [
        "",
        "many",
        "0",
        "-5",
        "1.2.3",
        "5,6",
        "uniform:5",
        "uniform:9,3",
        "normal:100",
        "zipf:1,2",
        "1e9",
        "99999999",
        "uniform:1,99999999",
    ],
)
def test_what_is_no_length_is_told(text: str) -> None:
    with pytest.raises(WrongInput, match="--x"):
        read_length(text, "--x")
