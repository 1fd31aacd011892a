import json
from typing import Any

import pytest

from gateway.engines.adapter import Shown
from gateway.engines.tgi import TgiAdapter
from gateway.engines.tgi_stream import TgiNativeStream, TgiStream
from gateway.errors import EngineFault, EngineOverloaded, StreamBroken
from gateway.wire.ask import Operation, read_ask
from gateway.wire.usage import Usage

TGI = TgiAdapter()
SHOWN = Shown("public", "chatcmpl-1", 7)


def event(value: object) -> bytes:
    return b"data:" + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def chat_chunk(text: str, finish: str | None = None, **delta: Any) -> bytes:
    choice = {
        "index": 0,
        "delta": {"role": "assistant", "content": text, **delta},
        "logprobs": None,
        "finish_reason": finish,
    }
    return event({"object": "chat.completion.chunk", "id": "", "model": "x", "choices": [choice]})


def chat_stream() -> TgiStream:
    ask = read_ask(b'{"model":"m","messages":[],"stream":true}', Operation.CHAT)
    stream = TGI.stream(ask, SHOWN)
    assert isinstance(stream, TgiStream)
    return stream


def shown(stream: TgiStream, *events: bytes) -> list[Any]:
    text = b"".join(out for one in events if (out := stream.event(one)) is not None)
    return [
        json.loads(part.removeprefix(b"data:"))
        for part in text.split(b"\n\n")
        if part and b"[DONE]" not in part
    ]


def test_the_role_comes_once_before_the_first_content() -> None:
    stream = chat_stream()
    chunks = shown(stream, chat_chunk("a"), chat_chunk("b"), chat_chunk("c", "length"))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "a"},
        {"content": "b"},
        {"content": "c"},
    ]
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-1"}
    assert {chunk["model"] for chunk in chunks} == {"public"}
    assert stream.content_events == 3


def test_an_answer_without_content_still_has_its_role() -> None:
    stream = chat_stream()
    chunks = shown(stream, chat_chunk("", "eos_token"))
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"


def test_stop_sequences_are_openais_stop() -> None:
    stream = chat_stream()
    chunks = shown(stream, chat_chunk("a"), chat_chunk("b", "stop_sequence"))
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert stream.finish_reason == "stop"
    assert stream.event(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"
    assert stream.is_complete


def test_usage_is_kept_and_not_shown_when_nobody_asked() -> None:
    stream = chat_stream()
    usage = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}
    stream.event(chat_chunk("a", "length"))
    assert stream.event(event({"id": "", "choices": [], "model": "x", "usage": usage})) is None
    assert stream.usage == Usage(4, 1)


def test_completions_have_no_role_and_no_empty_finish_reason() -> None:
    ask = read_ask(b'{"model":"m","prompt":"x","stream":true}', Operation.COMPLETION)
    stream = TGI.stream(ask, SHOWN)
    assert isinstance(stream, TgiStream)

    def chunk(text: str, finish: str) -> bytes:
        return event({"id": "", "choices": [{"index": 0, "text": text, "finish_reason": finish}]})

    chunks = shown(stream, chunk("a", ""), chunk("b", ""), chunk("c", "eos_token"))
    assert [one["choices"][0]["finish_reason"] for one in chunks] == [None, None, "stop"]
    assert "".join(one["choices"][0]["text"] for one in chunks) == "abc"


def test_an_id_of_its_own_stays() -> None:
    stream = chat_stream()
    chunk = event({"id": "own", "choices": [{"index": 0, "delta": {"content": "a"}}]})
    assert shown(stream, chunk)[1]["id"] == "own"


def test_an_error_event_ends_the_stream() -> None:
    stream = chat_stream()
    error = {"error": {"message": "Model is overloaded", "http_status_code": 422}}
    assert stream.event(event(error)) is None
    assert isinstance(stream.failure, EngineOverloaded)


def native(details: bool = False) -> TgiNativeStream:
    return TgiNativeStream(TGI.native_error, shows_details=details)


LAST = event(
    {
        "index": 2,
        "token": {"id": 1, "text": "b"},
        "generated_text": "ab",
        "details": {"finish_reason": "length", "generated_tokens": 2, "input_length": 5},
    }
)
TOKEN = event({"index": 1, "token": {"id": 1, "text": "a"}, "generated_text": None})


@pytest.mark.parametrize("asks", [True, False])
def test_the_last_native_event_counts_and_completes(asks: bool) -> None:
    stream = native(asks)
    assert stream.event(TOKEN) == TOKEN
    last = stream.event(LAST)
    assert last is not None
    assert (json.loads(last.removeprefix(b"data:"))["details"] is not None) is asks
    assert stream.usage == Usage(5, 2)
    assert stream.is_complete
    assert stream.content_events == 2
    assert stream.end() is None
    assert stream.failure is None


def test_a_last_native_event_without_details_counts_nothing() -> None:
    stream = native()
    last = event({"token": {}, "generated_text": "ab", "details": None})
    assert stream.event(last) == last
    assert stream.usage is None
    assert stream.is_complete


def test_a_native_error_event_is_a_failure() -> None:
    stream = native()
    assert stream.event(event({"error": "x", "error_type": "generation"})) is None
    assert isinstance(stream.failure, EngineFault)
    stream.end()
    assert isinstance(stream.failure, EngineFault)


def test_a_native_stream_without_its_last_event_is_broken() -> None:
    stream = native()
    stream.event(TOKEN)
    stream.end()
    assert isinstance(stream.failure, StreamBroken)


def test_native_nonsense_passes_and_counts_as_content() -> None:
    stream = native()
    assert stream.event(b"data: {\n\n") == b"data: {\n\n"
    assert stream.content_events == 1
