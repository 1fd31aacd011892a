import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.api.plain import PlainDialect
from gateway.engines import ENGINES
from gateway.engines.assembled import Assembled
from gateway.engines.assembled_shapes import Blank
from gateway.proxy.dialect import OpenAiDialect
from gateway.proxy.gathered import Gathered, is_gathered
from gateway.wire.ask import Operation, read_ask
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.fake_client import FakeClient

HELLO = [{"role": "user", "content": "Hello"}]
EVENT = b'data: {"id":"x","choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'


def gathered(client: FakeClient) -> Gathered:
    return Gathered(client, OpenAiDialect(), Assembled(Operation.CHAT, Blank(), 1000))


def test_the_client_gets_one_answer_and_no_sign_of_a_stream() -> None:
    client = FakeClient()
    it = gathered(client)
    it.on_pressure(client.abort, client.abort)
    it.start(200, ((b"x-request-id", b"1"), (b"content-type", b"text/event-stream")))
    it.write(EVENT)
    assert it.has_started
    assert not client.has_started
    it.write(b"data: [DONE]\n\n")
    it.finish()
    assert it.is_finished
    assert client.headers == {b"x-request-id": b"1", b"content-type": b"application/json"}
    assert json.loads(client.body)["choices"][0]["message"]["content"] == "Hi"


def test_what_is_answered_at_once_is_passed_on() -> None:
    client = FakeClient()
    gathered(client).respond(200, (), b"{}")
    assert (client.status, client.body) == (200, b"{}")


def test_the_client_behind_it_is_the_one_that_leaves() -> None:
    client = FakeClient()
    it = gathered(client)
    it.abort()
    assert it.is_gone
    assert client.is_aborted


def variant(engine: str = "vllm", *, replicas: int = 2, **more: Any) -> Any:
    urls = [f"http://{name}.test:80" for name in "abc"[:replicas]]
    one = a_variant("fp8", *urls) | {"engine": engine}
    return a_catalog(a_model("m", variants=[one], **more)).models["m"].variants[0]


def is_so(it: Any, *, chat: bool = True, **fields: Any) -> bool:
    asked = {"model": "m"} | ({"messages": HELLO} if chat else {"prompt": "Hello"}) | fields
    operation = Operation.CHAT if chat else Operation.COMPLETION
    return is_gathered(read_ask(json.dumps(asked).encode(), operation), ENGINES[it.engine], it)


@pytest.mark.parametrize("engine", ["vllm", "tgi", "llamacpp"])
def test_long_answers_are_gathered(engine: str) -> None:
    assert is_so(variant(engine))
    assert is_so(variant(engine), max_tokens=129)
    assert is_so(variant(engine), chat=False)
    assert is_so(variant(engine), logprobs=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"max_tokens": 128},
        {"n": 2},
        {"tools": []},
        {"stream_options": {"include_usage": True}},
        {"return_token_ids": True},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_what_is_soon_said_or_cannot_be_put_together_is_not(fields: dict[str, Any]) -> None:
    assert not is_so(variant(), **fields)


def test_offsets_in_the_text_are_the_engines_to_tell() -> None:
    assert not is_so(variant(), chat=False, logprobs=1)


def test_it_takes_another_replica_that_may_go_on() -> None:
    assert not is_so(variant(replicas=1))
    assert not is_so(variant(resume=False))
    assert not is_so(variant(resume="streams"))
    assert not is_so(variant("openai"))


def test_a_call_that_may_be_hedged_is_fetched_whole() -> None:
    hedged = variant(hedging={"max_tokens": 300})
    assert not is_so(hedged, max_tokens=300)
    assert is_so(hedged, max_tokens=301)
    assert is_so(replace(hedged, hedging=None), max_tokens=300)


def test_plain_answers_are_gathered_too() -> None:
    client = FakeClient()
    it = Gathered(
        client, PlainDialect(lambda: "m", stream=False), Assembled(Operation.CHAT, Blank(), 1000)
    )
    it.start(200, ())
    it.write(EVENT)
    it.finish()
    assert json.loads(client.body)["response"] == "Hi"
