import json

import pytest

from gateway.api.plain import PlainDialect
from gateway.errors import EngineFault, InvalidRequest
from gateway.wire.ask import Operation

WHOLE = PlainDialect(lambda: "first", stream=False)
STREAM = PlainDialect(lambda: "first", stream=True)


def body_of(dialect: PlainDialect, body: bytes) -> dict[str, object]:
    ask = dialect.ask(body, Operation.CHAT, None)
    told: dict[str, object] = json.loads(ask.edited({}))
    return told


def test_a_message_becomes_a_chat_with_the_first_model() -> None:
    assert body_of(WHOLE, b'{"message":"Hi","temperature":0}') == {
        "model": "first",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0,
    }


def test_a_model_that_is_named_is_asked() -> None:
    assert body_of(WHOLE, b'{"message":"Hi","model":"m"}')["model"] == "m"


def test_the_path_decides_on_streaming() -> None:
    assert "stream" not in body_of(WHOLE, b'{"message":"Hi","stream":true}')
    assert body_of(STREAM, b'{"message":"Hi","stream":false}')["stream"] is True


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "message"),
        (b'{"message":null}', "message"),
        (b'{"message":["Hi"]}', "message"),
        (b'{"message":"Hi","model":null}', "model"),
        (b'{"message":"Hi","max_tokens":"x"}', "max_tokens"),
        (b"[]", None),
    ],
)
def test_what_is_wrong_is_named(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as raised:
        WHOLE.ask(body, Operation.CHAT, None)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("answer", "response"),
    [
        (b'{"choices":[{"message":{"content":"Hello"}}]}', "Hello"),
        (b'{"choices":[{"message":{"content":null}}]}', ""),
        (b'{"choices":[{}]}', ""),
        (b'{"choices":[]}', ""),
        (b"{}", ""),
        (b"no JSON", ""),
        (b'{"choices":7}', ""),
    ],
)
def test_an_answer_is_its_text(answer: bytes, response: str) -> None:
    assert json.loads(WHOLE.answer(answer)) == {"response": response}


def test_an_event_with_text_is_shown_and_one_without_is_not() -> None:
    event = b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'
    assert STREAM.event(event) == b'data: {"response":"Hello"}\n\n'
    assert STREAM.event(b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n') is None
    assert STREAM.event(b'data: {"choices":[]}\n\n') is None


@pytest.mark.parametrize("event", [b"data: [DONE]\n\n", b": ping\n\n"])
def test_the_end_and_comments_pass_as_they_are(event: bytes) -> None:
    assert STREAM.event(event) == event


def test_failures_are_told_as_openai_tells_them() -> None:
    error = EngineFault("broken")
    assert STREAM.status(error) == 502
    assert json.loads(STREAM.error(error))["error"]["message"] == "broken"
    assert STREAM.error_event(error) == b"data: " + STREAM.error(error) + b"\n\n"
