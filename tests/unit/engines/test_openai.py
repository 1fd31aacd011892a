import json

import pytest

from gateway.engines.adapter import Served, Shown, State
from gateway.engines.openai import OpenAiAdapter
from gateway.errors import EngineFault, EngineRefused
from gateway.wire.ask import Operation, read_ask
from gateway.wire.usage import Usage

OPENAI = OpenAiAdapter()
SHOWN = Shown("public", "chatcmpl-1", 7)
ASK = read_ask(b'{"model":"public","messages":[]}', Operation.CHAT)


def no_header(_: bytes) -> None:
    return None


def test_an_answer_that_needs_no_change_is_passed_on_as_it_is() -> None:
    body = b'{ "id":"a", "model":"public", "choices":[{"finish_reason":"stop"}] }'
    assert OPENAI.answer(ASK, body, no_header, SHOWN).body is body


def test_the_model_of_an_answer_is_what_was_asked_for() -> None:
    body = b'{"id":"a","model":"org/served","choices":[{"finish_reason":"stop"}],"x":{"y":1}}'
    answer = OPENAI.answer(ASK, body, no_header, SHOWN)
    assert json.loads(answer.body) == json.loads(body) | {"model": "public"}
    assert answer.finish_reason == "stop"


def test_usage_is_read() -> None:
    body = b'{"model":"public","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    answer = OPENAI.answer(ASK, body, no_header, SHOWN)
    assert answer.usage == Usage(3, 4)
    assert answer.finish_reason is None


def test_an_aborted_answer_is_a_fault() -> None:
    body = b'{"model":"public","choices":[{"finish_reason":"abort"}]}'
    with pytest.raises(EngineFault):
        OPENAI.answer(ASK, body, no_header, SHOWN)


def test_an_error_in_a_200_is_a_failure() -> None:
    with pytest.raises(EngineRefused):
        OPENAI.answer(ASK, b'{"error":{"message":"no","code":400}}', no_header, SHOWN)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_an_answer_that_is_none_is_a_fault(body: bytes) -> None:
    with pytest.raises(EngineFault):
        OPENAI.answer(ASK, body, no_header, SHOWN)


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, b'{"data":[{"id":"a"},{"id":"m"}]}', State.READY),
        (200, b'{"data":[{"id":"a"}]}', State.MODEL_MISSING),
        (200, b'{"data":[]}', State.MODEL_MISSING),
        (200, b"{}", State.READY),
        (200, b"<html>", State.READY),
        (404, b"", State.READY),
        (500, b'{"data":[]}', State.READY),
        (401, b"", State.CREDENTIALS_REFUSED),
        (403, b"", State.CREDENTIALS_REFUSED),
    ],
)
def test_a_model_is_missing_only_when_a_readable_list_leaves_it_out(
    status: int, body: bytes, state: State
) -> None:
    assert OPENAI.model_state(status, body, "m") is state


@pytest.mark.parametrize("status", [401, 403])
def test_a_list_of_models_that_our_key_does_not_open_tells_of_the_key(status: int) -> None:
    assert OPENAI.state(status, b"") is State.CREDENTIALS_REFUSED


def test_an_adapter_is_asked_for_as_a_model_and_is_the_servers_own_matter() -> None:
    adapter = OpenAiAdapter()
    given = read_ask(b'{"model":"sql","messages":[]}', Operation.CHAT)
    request = adapter.prepare(given, Served("base", None, "sql"), "id")
    assert json.loads(request.body)["model"] == "sql"
    assert adapter.listed_adapters(b"{}") is None
    assert adapter.load_adapter("sql", "/a", Served("base"), "id") is None
    assert adapter.unload_adapter("sql", Served("base"), "id") is None
