import json
import random

import pytest

from gateway.clock import SystemClock
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.generation import Step
from gateway.simulator.job import Body, Job
from gateway.simulator.refused import Refused
from gateway.simulator.server import Request
from gateway.simulator.tokens import decode, encode
from gateway.simulator.wording import Wording
from tests.support.simulated import CHAT, COMPLETIONS, HELLO, QUICK


@pytest.fixture
def words() -> Wording:
    return Wording(SimulatedEngine(QUICK, SystemClock(), random.Random(0)))


def understood(words: Wording, body: Body, *, is_chat: bool = True) -> Job:
    request = Request("POST", CHAT if is_chat else COMPLETIONS)
    return words.job(request, body, None, is_chat=is_chat)


def test_a_chat_becomes_one_prompt(words: Wording) -> None:
    job = understood(words, {"messages": HELLO, "stop": "x", "n": 2})
    (prompt,) = job.prompts
    assert decode(prompt) == "<|user|>Hello world\n<|assistant|>"
    assert (job.model, job.max_tokens, job.stops, job.n) == ("sim", 6, ("x",), 2)
    assert not job.include_usage


def test_a_completion_may_have_several_prompts_as_text_or_as_tokens(words: Wording) -> None:
    body: Body = {"prompt": ["one", list(encode("two"))]}
    prompts = understood(words, body, is_chat=False).prompts
    assert [decode(prompt) for prompt in prompts] == ["one", "two"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"messages": HELLO, "model": "other"}, 404, "model"),
        ({}, 400, "messages"),
        ({"messages": HELLO, "temperature": 3}, 400, "temperature"),
        ({"messages": HELLO, "stream_options": {}}, 400, "stream_options"),
        ({"messages": HELLO, "max_tokens": 10**9}, 400, "messages"),
        ({"messages": "Hello"}, 400, "messages"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(
    words: Wording, body: Body, status: int, param: str
) -> None:
    with pytest.raises(Refused) as caught:
        understood(words, body)
    assert (caught.value.status, caught.value.param) == (status, param)
    assert words.error(caught.value)["error"]["param"] == param


def test_the_role_comes_before_the_text_and_usage_after_the_end(words: Wording) -> None:
    body: Body = {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    job = understood(words, body)
    first = words.first_chunk(job, 0)
    assert first is not None
    assert json.loads(first)["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    choice = words.chunk_choice(job, 0, Step(7, "Hi", "stop"))
    assert (choice["delta"], choice["finish_reason"]) == ({"content": "Hi"}, "stop")
    last = words.last_chunk(job, {"usage": {"total_tokens": 3}})
    assert last is not None
    assert json.loads(last)["usage"] == {"total_tokens": 3}
    assert words.last_chunk(job, {}) is None
