import base64
import json
from array import array
from typing import Any

import pytest

from gateway.proxy.mirror.said import text_of, vectors_of


def whole(**message: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()


def stream(*deltas: dict[str, Any]) -> bytes:
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    lines = [f"data: {json.dumps(event)}\r\n\r\n" for event in events]
    return "".join([": ping\n\n", *lines, "data: [DONE]\n\n"]).encode()


def test_a_whole_chat_and_its_stream_say_the_same() -> None:
    said = stream({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"})
    assert text_of(said, is_stream=True) == "Hello"
    assert text_of(whole(content="Hello", refusal=None), is_stream=False) == "Hello"


def test_reasoning_comes_before_what_is_said() -> None:
    thought = {"content": "4", "reasoning_content": "2 and 2, "}
    assert text_of(whole(**thought), is_stream=False) == "2 and 2, 4"


def test_tools_and_what_they_are_called_with_are_said_too() -> None:
    calls = [{"id": n, "function": {"name": "find", "arguments": f'{{"n":{n}}}'}} for n in (1, 2)]
    told = text_of(whole(content=None, tool_calls=calls), is_stream=False)
    pieces = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "find", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"n":1}'}}]},
        {"tool_calls": [{"index": 1, "function": {"name": "find", "arguments": '{"n":2}'}}]},
    ]
    assert told == '\nfind({"n":1})\nfind({"n":2})'
    assert text_of(stream(*pieces), is_stream=True) == told


def test_a_completion_is_its_text_and_only_the_first_choice_counts() -> None:
    body = b'{"choices":[{"index":0,"text":"one"},{"index":1,"text":"two"}]}'
    assert text_of(body, is_stream=False) == "one"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices":7}', b'{"choices":[]}', b"\xff"])
def test_what_has_no_choice_or_is_no_json_says_nothing(body: bytes) -> None:
    assert text_of(body, is_stream=False) is None
    assert text_of(b"data: " + body + b"\n\n", is_stream=True) is None
    assert vectors_of(body) is None


def test_embeddings_are_read_as_numbers_and_as_base64() -> None:
    packed = base64.b64encode(array("f", [0.5, -2.0]).tobytes()).decode()
    for given in ([0.5, -2], packed):
        found = vectors_of(json.dumps({"data": [{"embedding": given}]}).encode())
        assert found is not None
        assert [list(one) for one in found] == [[0.5, -2.0]]


@pytest.mark.parametrize("given", [None, "!", "abc", "YQ==", ["x"], {}])
def test_what_is_no_embedding_is_not_read(given: object) -> None:
    assert vectors_of(json.dumps({"data": [{"embedding": given}]}).encode()) is None
