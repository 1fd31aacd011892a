import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.quality.agreement import agrees, divergence, first_difference, logprob_of
from gateway.quality.positions import Position
from tests.support.compared import a_position, along

SHARES = st.lists(st.floats(0.01, 1), min_size=6, max_size=6)


def told(shares: list[float], count: int) -> Position:
    """The `count` likeliest of a distribution over as many tokens as there are shares."""
    whole = sum(shares)
    ranked = sorted(((x / whole, bytes([i])) for i, x in enumerate(shares)), reverse=True)
    top = {token: math.log(share) for share, token in ranked[:count]}
    return Position(ranked[0][1], max(top.values()), top)


def exact(a: list[float], b: list[float]) -> float:
    p, q = [x / sum(a) for x in a], [x / sum(b) for x in b]
    return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))


@given(SHARES, SHARES)
def test_with_all_tokens_told_it_is_exact(a: list[float], b: list[float]) -> None:
    assert divergence(told(a, 6), told(b, 6)) == pytest.approx(exact(a, b), abs=1e-6)


@given(SHARES, SHARES, st.integers(1, 5))
def test_with_fewer_it_is_never_too_much(a: list[float], b: list[float], count: int) -> None:
    assert -1e-9 <= divergence(told(a, count), told(b, count)) <= exact(a, b) + 1e-6


def test_the_same_is_no_divergence() -> None:
    one = a_position("a", a=0.7, b=0.2)
    assert divergence(one, one) == 0
    assert divergence(a_position("a", a=1.0), a_position("a", a=1.0)) == 0


def test_nothing_in_common_is_far_apart() -> None:
    a = a_position("a", a=0.6, b=0.35)
    b = a_position("c", c=0.6, d=0.35)
    assert divergence(a, b) > 1.5
    assert divergence(a_position("a", a=0.5), a_position("b", b=0.5)) == pytest.approx(0, abs=1e-6)


def test_a_token_told_for_being_there_bounds_no_other() -> None:
    """vLLM tells the token of a prompt beside the likeliest, however unlikely it was."""
    b = a_position("z", c=0.6, d=0.2, z=0.001)
    assert logprob_of(b"e", b) == pytest.approx(math.log(0.199))


def test_agreement_is_about_the_likeliest() -> None:
    assert agrees(a_position("b", a=0.6, b=0.3), a_position("a", a=0.5, b=0.4))
    assert not agrees(a_position("a", a=0.6, b=0.3), a_position("a", a=0.4, b=0.5))


def test_the_share_of_a_token() -> None:
    position = a_position("a", a=0.6, b=0.3)
    assert logprob_of(b"b", position) == pytest.approx(math.log(0.3))
    assert logprob_of(b"c", position) == pytest.approx(math.log(0.1))
    assert logprob_of(b"c", a_position("a", a=0.5, b=0.01)) == pytest.approx(math.log(0.01))
    assert logprob_of(b"c", a_position("a", a=1.0)) == pytest.approx(math.log(1e-10))
    assert logprob_of(b"z", Position(b"z", -4.0, {b"a": -0.1})) == -4.0


def test_where_answers_first_differ() -> None:
    assert first_difference(along("a", "b"), along("a", "b")) is None
    assert first_difference(along("a", "b"), along("a", "c")) == 1
    assert first_difference(along("a", "b"), along("a")) == 1
    assert first_difference((), ()) is None
