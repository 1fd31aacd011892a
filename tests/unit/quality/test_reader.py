import pytest
from typing_extensions import override

from gateway.quality.forced import Asking, Way
from gateway.quality.positions import Position, read_positions
from gateway.quality.reader import Reader
from gateway.remote.failure import Failure
from gateway.remote.prompt_file import a_prompt
from tests.support.toy_model import ToyModel

PROMPT = a_prompt("hi")


def a_reader(model: ToyModel, **options: int) -> Reader:
    return Reader(model, Asking("m", max_tokens=12), **options)


async def written(reader: Reader) -> tuple[Position, ...]:
    return read_positions((await reader.write(PROMPT)).logprobs)


@pytest.mark.parametrize("way", ["prompt_logprobs", "continue_final_message", "prefill"])
async def test_the_way_is_found_and_by_it_a_model_reads_itself(way: Way) -> None:
    reader = a_reader(ToyModel(ways=(way,)))
    answer = await written(reader)
    await reader.learn(PROMPT, answer)
    assert reader.way == way
    read = await reader.read(PROMPT, answer, 3)
    assert len(read) == 9
    for view, wrote in zip(read, answer[3:], strict=True):
        assert view is not None
        assert view.best == wrote.best
        assert view.top[wrote.best] == pytest.approx(wrote.top[wrote.best], abs=1e-9)


async def test_an_endpoint_that_begins_anew_is_found_out() -> None:
    """Reading its new message as if it went on would compare answers to different questions."""
    model = ToyModel(ways=())
    reader = a_reader(model)
    answer = await written(reader)
    for _ in range(4):
        await reader.learn(PROMPT, answer)
    assert reader.way == "none"
    asked = len(model.asked)
    await reader.learn(PROMPT, answer)
    assert await reader.read(PROMPT, answer, 0) == ()
    assert len(model.asked) == asked


async def test_an_answer_that_teaches_nothing_is_not_the_last() -> None:
    reader = a_reader(ToyModel())
    answer = await written(reader)
    await reader.learn(PROMPT, answer[:1])
    assert reader.way is None
    assert await reader.read(PROMPT, answer, 0) == ()
    await reader.learn(PROMPT, answer)
    assert reader.way == "prefill"


async def test_reading_on_stops_at_its_bound_at_a_failure_and_at_the_end() -> None:
    model = ToyModel()
    reader = a_reader(model, max_steps=4)
    answer = await written(reader)
    await reader.learn(PROMPT, answer)
    assert len(await reader.read(PROMPT, answer, 2)) == 4
    assert await reader.read(PROMPT, answer, 12) == ()
    model.failure = Failure("500", "no", 500)
    assert await reader.read(PROMPT, answer, 2) == ()


async def test_places_within_a_character_are_left_open() -> None:
    model = ToyModel()
    reader = a_reader(model)
    answer = await written(reader)
    await reader.learn(PROMPT, answer)
    half = Position(b"\xe6", 0.0, {})
    read = await reader.read(PROMPT, (half, *answer[:1]), 0)
    assert [one is None for one in read] == [False, True]


async def test_failures_teach_nothing() -> None:
    model = ToyModel()
    reader = a_reader(model)
    answer = await written(reader)
    model.failure = Failure("400", "unknown field", 400)
    await reader.learn(PROMPT, answer)
    assert reader.way is None


class Silent(ToyModel):
    """Answers without what it is asked for."""

    answer = b'{"choices": []}'

    @override
    async def whole(self, method: str, path: str, body: object = None) -> bytes:
        return self.answer


@pytest.mark.parametrize(
    "answer", [b'{"choices": []}', b'{"choices": [{}]}', b"[1]", b'{"choices": 1}']
)
async def test_an_answer_without_logprobs_says_nothing(answer: bytes) -> None:
    model = Silent()
    model.answer = answer
    reader = a_reader(model)
    written_by_it = await written(reader)
    await reader.learn(PROMPT, written_by_it)
    assert reader.way is None


def test_without_logprobs_there_is_no_way() -> None:
    assert Reader(ToyModel(), Asking("m", top_logprobs=0)).way == "none"
