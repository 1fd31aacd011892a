import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.content import MAX_CHARACTERS, content_of
from gateway.wire.ask import Operation, read_ask

TEXT = {"type": "text", "content": "Hi"}


def told(
    body: dict[str, Any], answer: bytes, operation: Operation = Operation.CHAT
) -> tuple[Any, Any]:
    ask = read_ask(msgspec.json.encode({"model": "m"} | body), operation)
    found = content_of(ask, answer)
    asked, said = found["gen_ai.input.messages"], found["gen_ai.output.messages"]
    return (
        None if asked is None else json.loads(str(asked)),
        None if said is None else json.loads(str(said)),
    )


def events(*sent: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(one) for one in sent) + b"data: [DONE]\n"


def test_messages_have_roles_and_parts() -> None:
    messages = [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}, "junk"],
        },
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        "junk",
    ]
    asked, said = told({"messages": messages}, b"no json")
    assert said is None
    assert asked == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief"}]},
        {"role": "user", "parts": [TEXT, {"type": "image_url"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": "{}"}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "42"}]},
    ]


def test_a_whole_answer_has_a_message_for_each_choice() -> None:
    answer = {"choices": [{"message": {"content": "Yes"}, "finish_reason": "stop"}, {"text": "x"}]}
    _, said = told({"messages": []}, msgspec.json.encode(answer))
    assert said == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "Yes"}],
            "finish_reason": "stop",
        },
        {"role": "assistant", "parts": [{"type": "text", "content": "x"}], "finish_reason": None},
    ]


def test_the_pieces_of_a_stream_are_put_together() -> None:
    answer = events(
        {"choices": [{"index": 0, "delta": {"role": "assistant"}}]},
        {"choices": [{"index": 0, "delta": {"content": "H"}}]},
        {"choices": [{"index": 0, "delta": {"content": "i"}, "finish_reason": "length"}]},
        {"choices": []},
    )
    _, said = told({"messages": [], "stream": True}, b": ping\n\n" + answer)
    assert said == [{"role": "assistant", "parts": [TEXT], "finish_reason": "length"}]


@pytest.mark.parametrize(
    ("operation", "body", "answer"),
    [
        (Operation.COMPLETION, {"prompt": "Hi"}, {"choices": [{"text": "Hi"}]}),
        (Operation.COMPLETION, {"prompt": ["Hi"]}, {"choices": [{"text": "Hi"}]}),
        (Operation.GENERATE, {"inputs": "Hi"}, {"generated_text": "Hi"}),
    ],
)
def test_prompts_are_messages_of_a_user(
    operation: Operation, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    asked, said = told(body, msgspec.json.encode(answer), operation)
    assert asked == [{"role": "user", "parts": [TEXT]}]
    assert said[0]["parts"] == [TEXT]


def test_tokens_of_tgi_are_put_together() -> None:
    answer = events({"token": {"text": "H"}}, {"token": {"text": "i"}})
    _, said = told({"inputs": "x", "stream": True}, answer, Operation.GENERATE)
    assert said[0]["parts"] == [TEXT]


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"choices": 1}', b'{"choices": [1]}', b"null"])
def test_what_cannot_be_read_is_left_out(answer: bytes) -> None:
    for stream in (False, True):
        sent = b"data: " + answer + b"\n\n" if stream else answer
        assert told({"messages": [], "stream": stream}, sent) == (None, None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "message", "content", "text", "index", "token"])
            | st.sampled_from(
                ["role", "tool_calls", "function", "finish_reason", "generated_text"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(messages=st.lists(anything, max_size=3), answer=anything, stream=st.booleans())
def test_whatever_is_said_does_not_stop_the_trace(messages: Any, answer: Any, stream: bool) -> None:
    said = events(answer) if stream else msgspec.json.encode(answer)
    told({"messages": messages, "stream": stream}, said)


def test_what_is_too_long_is_left_out() -> None:
    asked, said = told({"messages": [{"role": "user", "content": "x" * MAX_CHARACTERS}]}, b"")
    assert asked is said is None
