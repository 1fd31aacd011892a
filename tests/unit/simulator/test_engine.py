import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.faults import HEADER, Fault
from gateway.simulator.generation import Generation, Step
from gateway.simulator.server import Request
from gateway.simulator.tokens import encode
from tests.support.fake_clock import FakeClock
from tests.support.simulated import QUICK

PROMPT = encode("Hello world")


class RecordedWire:
    """Keeps the answer."""

    status = 0
    body = b""

    def head(self, status: int, headers: dict[str, str], length: int | None) -> None:
        self.status = status

    def piece(self, data: bytes) -> None:
        self.body += data

    def end(self) -> None:
        pass


def an_engine(clock: FakeClock | None = None, **options: Any) -> SimulatedEngine:
    return SimulatedEngine(replace(QUICK, **options), clock or FakeClock(), random.Random(1))


@asynccontextmanager
async def running(engine: SimulatedEngine) -> AsyncIterator[None]:
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run)
            yield
            tasks.cancel_scope.cancel()


def begun(engine: SimulatedEngine, max_tokens: int = 5, choice: int = 0) -> Generation:
    generation = engine.begin(PROMPT, max_tokens, (), choice)
    assert generation is not None
    return generation


async def steps_of(
    engine: SimulatedEngine, generation: Generation, fault: Fault | None = None
) -> list[Step]:
    return [step async for step in engine.steps(generation, fault)]


async def administer(engine: SimulatedEngine, method: str, path: str, body: object = None) -> Any:
    wire = RecordedWire()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    await engine.answer_admin(Request(method, path, body=raw), wire)  # type: ignore[arg-type]
    return wire.status, json.loads(wire.body)


async def test_an_answer_comes_token_by_token_and_is_counted() -> None:
    engine = an_engine()
    async with running(engine):
        generation = begun(engine)
        assert engine.is_busy
        steps = await steps_of(engine, generation)
        engine.finish(generation, steps[-1].finish)
    assert len(steps) == 5
    assert engine.counts.finished == {"length": 1}
    assert (engine.counts.prompt_tokens, engine.counts.generated_tokens) == (len(PROMPT), 5)
    assert not engine.is_busy


async def test_a_request_is_finished_once() -> None:
    engine = an_engine()
    generation = begun(engine)
    engine.finish(generation, "stop")
    engine.finish(generation, "stop")
    assert engine.counts.finished == {"stop": 1}
    assert not engine.scheduler.waiting


async def test_a_client_that_left_is_counted_under_no_reason() -> None:
    engine = an_engine()
    engine.finish(begun(engine), None)
    assert engine.counts.finished == {}


async def test_no_token_is_computed_after_the_last_however_slowly_it_is_read() -> None:
    """Before, the scheduler went on until the client had read the end, and charged for it."""
    engine = an_engine()
    async with running(engine):
        slow, other = begun(engine, max_tokens=2), begun(engine, max_tokens=50)
        await steps_of(engine, other)
    assert slow.work.produced == 2
    assert not engine.scheduler.running


async def test_who_waits_for_an_idle_engine_waits_for_its_last_answer() -> None:
    engine = an_engine()
    with anyio.fail_after(5):
        await engine.idle()
        one, two = begun(engine), begun(engine)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.idle)
            await anyio.lowlevel.checkpoint()
            engine.finish(one, "stop")
            assert engine.is_busy
            engine.finish(two, "stop")


async def test_an_idle_engine_wakes_for_a_new_request() -> None:
    engine = an_engine()
    async with running(engine):
        await anyio.lowlevel.checkpoint()
        await steps_of(engine, begun(engine))
        await anyio.lowlevel.checkpoint()
        assert len(await steps_of(engine, begun(engine))) == 5


async def test_the_choices_of_one_request_differ_and_the_same_choice_does_not() -> None:
    engine = an_engine()
    async with running(engine):
        texts = [
            [step.token for step in await steps_of(engine, begun(engine, 20, choice))]
            for choice in (0, 1, 0)
        ]
    assert texts[0] == texts[2] != texts[1]


async def test_a_full_queue_refuses() -> None:
    engine = an_engine(max_num_seqs=1, max_queued=1)
    assert [engine.begin(PROMPT, 5, ()) is None for _ in range(3)] == [False, False, True]
    assert engine.counts.rejected == 1


async def test_an_engine_that_gives_up_ends_every_answer_and_frees_its_memory() -> None:
    engine = an_engine()
    generation = begun(engine)
    engine.scheduler.start_step()
    engine.abort_all()
    assert [step.finish for step in await steps_of(engine, generation)] == ["abort"]
    assert engine.scheduler.cache.used == 0


async def test_a_request_that_left_within_a_step_gets_no_token() -> None:
    engine = an_engine(inter_token_s=0.001)
    async with running(engine):
        left, stays = begun(engine), begun(engine)
        engine._generations.pop(id(left.work))
        await steps_of(engine, stays)
    assert not left._steps


async def test_slow_is_so_many_times_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = an_engine()
    generation = begun(engine, max_tokens=3)
    engine.scheduler.start_step()
    for _ in range(3):
        generation.work.produced += 1
        generation.produce()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    engine.options = replace(engine.options, prefill_s_per_token=0.1, inter_token_s=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(anyio, "sleep", sleep)
        await steps_of(engine, generation, Fault("slow", "20"))
    assert slept == [pytest.approx(20 * (0.1 * len(PROMPT) + 1.0)), 20.0, 20.0]


def test_a_fault_by_header_is_met_by_that_request() -> None:
    engine = an_engine()
    assert engine.fault_for(Request(headers={HEADER: "drip"})) == Fault("drip")
    assert engine.fault_for(Request()) is None


def test_a_header_goes_before_what_is_injected() -> None:
    engine = an_engine()
    engine.inject("refuse", count=1)
    assert engine.fault_for(Request(headers={HEADER: "drip"})) == Fault("drip")
    assert engine.fault_for(Request()) == Fault("refuse")


def test_an_injected_fault_ends_with_its_time() -> None:
    clock = FakeClock()
    engine = an_engine(clock)
    engine.inject("refuse", for_s=2)
    assert engine.fault_for(Request()) == Fault("refuse")
    clock.pass_s(2)
    assert engine.fault_for(Request()) is None


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"count": -1}, {"probability": 1.1}, {"probability": float("nan")}]
)
def test_an_injection_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        an_engine().inject("refuse", **wrong)


def test_seconds_since_1970_come_from_the_clock() -> None:
    assert an_engine(FakeClock(5)).unix_s() == 1_700_000_005


async def test_faults_are_injected_listed_and_cleared_over_http() -> None:
    engine = an_engine()
    status, answer = await administer(
        engine, "POST", "/simulate/faults", {"fault": "status=503;retry-after=2", "count": 3}
    )
    expected = {"faults": [{"fault": "status", "value": "503", "count": 3}]}
    assert (status, answer) == (200, expected)
    assert await administer(engine, "GET", "/simulate/faults") == (200, expected)
    assert await administer(engine, "DELETE", "/simulate/faults") == (200, {"faults": []})
    assert engine.fault_for(Request()) is None


@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        b"[]",
        {},
        {"fault": "explode"},
        {"fault": 5},
        {"fault": "drip", "count": "3"},
        {"fault": "drip", "count": 0},
        {"fault": "drip", "for_s": "long"},
        {"fault": "drip", "probability": "often"},
        {"fault": "drip", "probability": 2},
        {"fault": "drip", "chance": 1},
    ],
)
async def test_a_wrong_injection_is_a_400_with_the_reason_and_injects_nothing(body: object) -> None:
    """Before, a count or probability of a wrong type was taken and broke the next request."""
    engine = an_engine()
    status, answer = await administer(engine, "POST", "/simulate/faults", body)
    assert status == 400
    assert answer["error"]
    assert engine.injections() == []


async def test_an_unknown_admin_path_names_the_known_ones() -> None:
    status, answer = await administer(an_engine(), "GET", "/simulate/other")
    assert (status, answer) == (404, {"error": "known: /simulate/faults, /simulate/requests"})
