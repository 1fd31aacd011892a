import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.remote.address import headers_of, origin_of
from gateway.remote.answer import Answer, Question
from gateway.remote.endpoint import AskFailed, Endpoint
from gateway.remote.failure import Failure
from tests.support.ports import free_port
from tests.support.simulated import HELLO, Simulated, an_engine

pytestmark = pytest.mark.integration


@asynccontextmanager
async def asking(
    engine: Simulated, *, fault: str = "", timeout_s: float = 5.0
) -> AsyncIterator[Endpoint]:
    more = [f"x-simulate-fault: {fault}"] if fault else []
    origin = origin_of(engine.engine.url)
    async with Endpoint(origin, headers_of("sesame", more), timeout_s=timeout_s) as endpoint:
        yield endpoint


def a_question(**fields: object) -> Question:
    asked = {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    return Question("/chat/completions", json.dumps(asked | fields).encode())


async def answered(fault: str = "", timeout_s: float = 5.0, **fields: object) -> Answer:
    async with an_engine() as engine, asking(engine, fault=fault, timeout_s=timeout_s) as endpoint:
        return await endpoint.stream(a_question(**fields))


async def test_a_stream_is_read_and_timed() -> None:
    answer = await answered(max_tokens=4)
    assert answer.failure is None
    assert len(answer.times_s) == 4
    assert answer.completion_tokens == 4
    assert answer.sent_s <= answer.times_s[0] <= answer.times_s[-1] <= answer.ended_s
    assert answer.finish_reason == "length"


async def test_the_key_and_the_headers_are_sent() -> None:
    async with an_engine(api_key="sesame") as engine, asking(engine) as endpoint:
        assert (await endpoint.stream(a_question())).failure is None
        assert engine.engine.requests[-1].headers["authorization"] == "Bearer sesame"


@pytest.mark.parametrize(
    ("fault", "label"),
    [
        ("status=429", "429"),
        ("html-error=502", "502"),
        ("reset-after=2", "connection lost"),
        ("reset-before-headers", "connection lost"),
        ("half-status-line", "connection lost"),
        ("bad-header", "not HTTP"),
        ("truncate-after=2", "stream cut short"),
        ("error-event-after=2", "error event 500"),
        ("garbage", "unreadable answer"),
    ],
)
async def test_every_failure_is_part_of_the_answer(fault: str, label: str) -> None:
    answer = await answered(fault)
    assert answer.failure is not None
    assert answer.failure.label.startswith(label), answer.failure


@pytest.mark.parametrize("fault", ["stall-before-headers", "stall-before-content", "stall-after=2"])
async def test_silence_ends_at_the_timeout(fault: str) -> None:
    answer = await answered(fault, timeout_s=0.2)
    assert answer.failure == Failure("timeout", "no whole answer within 0.2 s")


async def test_an_answer_that_is_no_stream_is_told() -> None:
    answer = await answered(stream=False, stream_options=None)
    assert answer.failure is not None
    assert answer.failure.label == "unreadable answer"


async def test_nobody_there_is_told() -> None:
    origin = origin_of(f"http://127.0.0.1:{free_port()}")
    async with Endpoint(origin, ()) as endpoint:
        answer = await endpoint.stream(a_question())
        assert answer.failure is not None
        assert answer.failure.label == "cannot connect"
        with pytest.raises(AskFailed, match="could not be reached"):
            await endpoint.whole("GET", "/models")


async def test_answers_that_are_not_streamed() -> None:
    async with an_engine() as engine, asking(engine) as endpoint:
        assert json.loads(await endpoint.whole("GET", "/models"))["data"][0]["id"] == "sim"
        body = {"messages": HELLO, "max_tokens": 1}
        assert b"choices" in await endpoint.whole("POST", "/chat/completions", body)
        with pytest.raises(AskFailed) as failed:
            await endpoint.whole("POST", "/chat/completions", body | {"model": "other"})
        assert failed.value.failure.status == 404


async def test_an_answer_that_is_not_streamed_has_a_timeout_too() -> None:
    async with (
        an_engine() as engine,
        asking(engine, fault="stall-before-headers", timeout_s=0.2) as endpoint,
    ):
        with pytest.raises(AskFailed) as failed:
            await endpoint.whole("POST", "/completions", {"prompt": "a"})
        assert failed.value.failure.label == "timeout"
