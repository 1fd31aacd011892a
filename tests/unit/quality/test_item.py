from array import array

import pytest

from gateway.quality.item import common_ratio, failed_item, side_of
from gateway.quality.views import Views, shared_views
from gateway.remote.answer import Answer
from gateway.wire.usage import Usage
from tests.support.compared import a_side, along, an_item


def test_what_is_kept_of_an_answer() -> None:
    times = array("d", [2.0, 2.5, 3.0])
    answer = Answer(1.5, 3.0, times, "I cannot assist", "stop", Usage(5, 11))
    side = side_of(answer, right=False)
    assert (side.ttft_ms, side.tpot_ms, side.tokens) == (500.0, 100.0, 11)
    assert (side.finish, side.right, side.refused) == ("stop", False, True)


def test_an_answer_of_nothing_has_no_times() -> None:
    side = side_of(Answer(1.0, 2.0), None)
    assert (side.ttft_ms, side.tpot_ms, side.tokens, side.right) == (None, None, 0, None)


def test_answers_are_compared_token_by_token() -> None:
    item = an_item(b=a_side("a c"), views=shared_views(along("a", "b"), along("a", "c")))
    assert (item.is_same, item.differs_at, item.positions) == (False, 1, 2)
    assert item.agrees == (True, False)
    assert item.common_ratio == pytest.approx(2 / 3, abs=1e-5)
    assert item.kl[0] == 0
    assert item.b_logprobs[1] < item.a_logprobs[1]


def test_gaps_are_passed_over() -> None:
    a, b = along("a", "b", "c"), along("a", "b", "c")
    item = an_item(views=Views(a, (b[0], None, b[2])))
    assert (len(item.kl), item.positions) == (2, 3)


def test_without_logprobs_only_texts_are_compared() -> None:
    item = an_item(views=Views())
    assert (item.is_same, item.kl, item.positions, item.differs_at) == (True, (), 0, None)


def test_the_part_in_common() -> None:
    assert common_ratio("", "abc") == 1
    assert common_ratio("abcd", "abxd") == 0.5
    assert common_ratio("ab", "abc") == 1
    assert common_ratio("ab", "") == 0


def test_a_failure_is_kept_as_one() -> None:
    item = failed_item(3, "k", "B failed")
    assert (item.number, item.failure, item.is_same) == (3, "B failed", False)
