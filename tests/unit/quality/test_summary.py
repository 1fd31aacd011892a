import math
import random

import pytest

from gateway.quality.item import Item, failed_item
from gateway.quality.summary import Summary, summary_of
from gateway.quality.views import Views, shared_views
from tests.support.compared import a_side, along, an_item


def summed(items: list[Item]) -> Summary:
    return summary_of(items, random.Random(1))


def test_figures_of_the_same_answers() -> None:
    summary = summed([an_item(i) for i in range(4)])
    assert (summary.prompts, summary.failed) == (4, 0)
    assert summary.same is not None
    assert summary.same.value == 1
    assert summary.top1 is not None
    assert summary.top1.value == 1
    assert summary.perplexity_a is not None
    assert summary.perplexity_a.value == pytest.approx(1 / 0.9)
    assert summary.perplexity_b is not None
    assert summary.perplexity_b.value == pytest.approx(1 / 0.8)
    assert summary.perplexity_ratio is not None
    assert summary.perplexity_ratio.value == pytest.approx(0.9 / 0.8)
    assert summary.kl is not None
    assert summary.kl.value > 0
    assert summary.known_ratio == 1
    assert summary.differs_at is None
    assert summary.accuracy is None
    assert summary.ttft_ratio is not None
    assert summary.ttft_ratio.value == pytest.approx(1)


def test_tokens_weigh_the_same_whatever_their_answer() -> None:
    long = an_item(0, views=shared_views(along(*"abcdefgh"), along(*"abcdefgh")))
    differing = an_item(1, views=shared_views(along("a", "b"), along("x", "y")))
    summary = summed([long, differing])
    assert summary.top1 is not None
    assert summary.top1.value == pytest.approx(8 / 9)
    assert summary.known_ratio == pytest.approx(9 / 10)
    assert summary.differs_at is not None
    assert summary.differs_at.p50 == 0


def test_accuracy_is_paired() -> None:
    graded = [(True, True)] * 6 + [(True, False)] * 3 + [(False, True)] + [(False, False)] * 2
    items = [an_item(i, a_side(right=a), a_side(right=b)) for i, (a, b) in enumerate(graded)]
    accuracy = summed([*items, an_item(99)]).accuracy
    assert accuracy is not None
    assert (accuracy.a, accuracy.b) == (9 / 12, 7 / 12)
    assert accuracy.change.value == pytest.approx(-2 / 12)
    assert accuracy.change.low < accuracy.change.value < accuracy.change.high
    assert (accuracy.only_a, accuracy.only_b, accuracy.change.prompts) == (3, 1, 12)
    assert accuracy.p == pytest.approx(0.625)


def test_drifts() -> None:
    items = [
        an_item(0, a_side(tokens=10), a_side(tokens=20, finish="length", refused=True)),
        an_item(1, a_side(tokens=30), a_side(tokens=30, ttft_ms=20.0, tpot_ms=2.5)),
    ]
    summary = summed(items)
    assert summary.length_ratio is not None
    assert summary.length_ratio.value == 50 / 40
    assert (summary.cut_a, summary.cut_b, summary.refused_a, summary.refused_b) == (0, 0.5, 0, 0.5)
    assert summary.refusal_change is not None
    assert summary.refusal_change.value == 0.5
    assert summary.ttft_ratio is not None
    assert summary.ttft_ratio.value == pytest.approx(math.sqrt(2))
    assert summary.tpot_ratio is not None
    assert summary.tpot_ratio.value == pytest.approx(math.sqrt(0.5))


def test_failures_are_counted_and_nothing_else() -> None:
    summary = summed([failed_item(0, "k", "A failed"), an_item(1)])
    assert (summary.prompts, summary.failed) == (2, 1)
    assert summary.same is not None
    assert summary.same.prompts == 1


def test_what_is_not_known_is_none() -> None:
    bare = an_item(0, a_side(ttft_ms=None, tpot_ms=None), views=Views())
    summary = summed([bare])
    for unknown in (
        summary.kl,
        summary.top1,
        summary.perplexity_ratio,
        summary.known_ratio,
        summary.ttft_ratio,
        summary.tpot_ratio,
        summary.ttft_a_ms,
    ):
        assert unknown is None
    nothing = summed([])
    assert nothing.same is None
    assert nothing.cut_a == 0
