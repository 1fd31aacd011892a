import random

import pytest

from gateway.quality.comparison import Comparison
from gateway.quality.entry import Entry, entries_of
from gateway.quality.forced import Asking, Way
from gateway.quality.item import Item
from gateway.quality.reader import Reader
from gateway.quality.summary import Summary, summary_of
from gateway.remote.failure import Failure
from gateway.remote.models import NotReady
from gateway.remote.prompt_file import a_prompt
from tests.support.toy_model import ToyModel

ENTRIES = entries_of([a_prompt(f"question {i}") for i in range(12)], "auto", "f")


def comparing(a: ToyModel, b: ToyModel, concurrency: int = 1) -> tuple[Comparison, list[Item]]:
    items: list[Item] = []
    sides = [Reader(model, Asking("m", max_tokens=16)) for model in (a, b)]
    return Comparison(sides[0], sides[1], items.append, concurrency), items


async def compared(
    a: ToyModel, b: ToyModel, entries: list[Entry] = ENTRIES, concurrency: int = 1
) -> Summary:
    comparison, items = comparing(a, b, concurrency)
    await comparison.run(entries)
    assert sorted(item.number for item in items) == [entry.number for entry in entries]
    return summary_of(items, random.Random(1))


@pytest.mark.parametrize("way", ["prompt_logprobs", "continue_final_message", "prefill"])
async def test_a_model_against_itself_differs_in_nothing(way: Way) -> None:
    summary = await compared(ToyModel(ways=(way,)), ToyModel(ways=(way,)))
    assert summary.same is not None
    assert summary.same.value == 1
    assert summary.kl is not None
    assert summary.kl.value == pytest.approx(0, abs=1e-9)
    assert summary.known_ratio == 1


@pytest.mark.parametrize("way", ["prompt_logprobs", "continue_final_message", "prefill"])
async def test_the_more_blur_the_worse_by_every_figure(way: Way) -> None:
    """Known along the whole answer, whichever way B is made to read it."""
    found = [
        await compared(ToyModel(ways=(way,)), ToyModel(blur=blur, ways=(way,)))
        for blur in (0.02, 0.2, 0.5)
    ]
    assert [one.known_ratio for one in found] == [1, 1, 1]
    kl = [one.kl.value for one in found if one.kl]
    perplexity = [one.perplexity_ratio.value for one in found if one.perplexity_ratio]
    agreement = [one.top1.value for one in found if one.top1]
    assert kl == sorted(kl)
    assert perplexity == sorted(perplexity)
    assert perplexity[0] > 1
    assert agreement == sorted(agreement, reverse=True)


async def test_the_ways_agree_on_what_they_find() -> None:
    ways: list[Way] = ["prompt_logprobs", "prefill"]
    one, other = [
        await compared(ToyModel(ways=(way,)), ToyModel(blur=0.3, ways=(way,))) for way in ways
    ]
    assert one.kl is not None
    assert other.kl is not None
    assert one.kl.value == pytest.approx(other.kl.value, rel=1e-3)


async def test_where_nothing_can_be_read_the_shared_part_is_compared() -> None:
    summary = await compared(ToyModel(ways=()), ToyModel(blur=0.5, ways=()))
    assert summary.known_ratio is not None
    assert 0 < summary.known_ratio < 1
    assert summary.kl is not None


async def test_without_logprobs_texts_are_compared() -> None:
    model = ToyModel(has_logprobs=False)
    summary = await compared(model, ToyModel(blur=0.5))
    assert summary.kl is None
    assert summary.same is not None


async def test_sides_take_turns_and_several_go_at_a_time() -> None:
    a, b = ToyModel(), ToyModel(blur=0.2)
    summary = await compared(a, b, concurrency=4)
    assert summary.prompts == 12
    streams = [body for body in a.asked if body.get("stream")]
    assert len(streams) == 12


async def test_a_failure_is_an_item_and_nothing_stops() -> None:
    b = ToyModel(failure=Failure("500 server_error", "boom", 500))
    comparison, items = comparing(ToyModel(), b)
    await comparison.run(ENTRIES[:3])
    assert [item.failure for item in items] == ["B failed: 500 server_error: boom"] * 3


async def test_the_first_question_finds_how_many_logprobs_there_are() -> None:
    comparison, _ = comparing(ToyModel(max_top=20), ToyModel(max_top=5))
    assert await comparison.prepare(a_prompt("hi")) == ["B gives 5 logprobs for each token, not 20"]
    assert comparison.b.asking.top_logprobs == 5
    assert comparison.b.asking.max_tokens == 16
    assert await comparison.prepare(a_prompt("hi")) == []


async def test_an_endpoint_without_logprobs_is_told() -> None:
    comparison, _ = comparing(ToyModel(), ToyModel(has_logprobs=False))
    notes = await comparison.prepare(a_prompt("hi"))
    assert notes[0] == "B gives no logprobs for each token, not 20"
    assert "no divergence" in notes[1]
    assert comparison.b.way == "none"


async def test_an_endpoint_that_does_not_answer_is_not_compared() -> None:
    for status, words in (
        (401, "a first question to A failed: 401"),
        (400, "A refuses every form"),
    ):
        a = ToyModel(failure=Failure(str(status), "no", status))
        comparison, _ = comparing(a, ToyModel())
        with pytest.raises(NotReady, match=words):
            await comparison.prepare(a_prompt("hi"))
