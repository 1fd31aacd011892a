import math
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.mirror.agreement import Agreement, cosine, of_texts, of_vectors


def test_equal_texts_agree_to_the_end_and_empty_ones_are_equal() -> None:
    assert of_texts("abc", "abc") == of_texts("", "") == Agreement(True, 1.0)


def test_the_common_beginning_is_a_part_of_the_longer_text() -> None:
    assert of_texts("abcd", "abXY") == Agreement(False, 0.5, 2)
    assert of_texts("ab", "abcd") == Agreement(False, 0.5, 2)
    assert of_texts("", "abcd") == Agreement(False, 0.0, 0)


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_the_first_difference_is_where_the_common_prefix_ends(a: str, b: str) -> None:
    found = of_texts(a, b)
    assert found.is_same == (a == b)
    if not found.is_same:
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
        assert found.first_difference == len(list(alike))


def test_the_least_alike_pair_of_vectors_counts() -> None:
    found = of_vectors([[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [1.0, 1.0]])
    assert found.cosine == pytest.approx(math.sqrt(0.5))
    assert not found.is_same
    assert of_vectors([[1.0]], [[1.0]]) == Agreement(True, cosine=1.0)


def test_vectors_that_cannot_be_compared_have_nothing_in_common() -> None:
    assert of_vectors([[1.0]], [[1.0], [1.0]]).cosine == 0.0
    assert of_vectors([[1.0]], [[1.0, 1.0]]).cosine == 0.0
    assert cosine([0.0], [1.0]) == 0.0
    assert cosine([float("inf")], [1.0]) == 0.0
