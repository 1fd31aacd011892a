import anyio

from gateway.simulator.answers import Speaker
from gateway.simulator.generation import Generation, Step
from gateway.simulator.scheduler import Work
from gateway.simulator.tokens import decode, encode


def a_generation(max_tokens: int = 3, stops: tuple[str, ...] = ()) -> Generation:
    prompt = encode("Hello")
    speaker = Speaker(prompt, seed=0, unicode=False)
    return Generation(Work(prompt, max_tokens), speaker, stops)


def produce(generation: Generation, count: int) -> None:
    for _ in range(count):
        generation.work.produced += 1
        generation.produce()


async def all_steps(generation: Generation) -> list[Step]:
    with anyio.fail_after(5):
        return [step async for step in generation.steps()]


async def test_the_last_token_that_may_come_ends_an_answer() -> None:
    generation = a_generation(max_tokens=3)
    produce(generation, 3)
    steps = await all_steps(generation)
    assert [step.finish for step in steps] == [None, None, "length"]
    assert [step.number for step in steps] == [1, 2, 3]
    assert "".join(step.text for step in steps) == decode(step.token for step in steps)


async def test_nothing_comes_after_the_end() -> None:
    generation = a_generation(max_tokens=2)
    produce(generation, 5)
    generation.abort()
    assert len(await all_steps(generation)) == 2


async def test_a_stop_string_ends_an_answer_and_is_named_not_shown() -> None:
    whole = a_generation(max_tokens=30)
    produce(whole, 30)
    text = "".join(step.text for step in await all_steps(whole))
    stop = text[10:14]
    stopped = a_generation(max_tokens=30, stops=(stop,))
    produce(stopped, 30)
    steps = await all_steps(stopped)
    assert (steps[-1].finish, steps[-1].stop) == ("stop", stop)
    assert "".join(step.text for step in steps) == text[: text.index(stop)]


async def test_an_engine_that_gives_up_ends_an_answer_with_abort() -> None:
    generation = a_generation()
    produce(generation, 1)
    generation.abort()
    steps = await all_steps(generation)
    assert [(step.finish, step.number) for step in steps] == [(None, 1), ("abort", 1)]
    assert generation.is_over


async def test_a_reader_waits_for_tokens_that_are_not_computed_yet() -> None:
    generation = a_generation(max_tokens=2)
    steps = generation.steps()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_later, generation)
            read = [step async for step in steps]
    assert len(read) == 2


async def _later(generation: Generation) -> None:
    for _ in range(2):
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        produce(generation, 1)
