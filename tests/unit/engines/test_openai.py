import json

import pytest

from gateway.engines.adapter import Shown
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
