import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engines.adapter import Shown
from gateway.engines.openai_stream import OpenAiStream
from gateway.errors import EngineFault, StreamBroken
from gateway.wire.ask import Operation, read_ask
from gateway.wire.sse import DONE
from gateway.wire.usage import Usage

SHOWN = Shown("public", "chatcmpl-1", 7)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def a_stream(
    *, include_usage: bool = False, finish_reasons: Mapping[str, str] | None = None
) -> OpenAiStream:
    body = {"model": "m", "messages": [], "stream": True}
    if include_usage:
        body["stream_options"] = {"include_usage": True}
    ask = read_ask(json.dumps(body).encode(), Operation.CHAT)
    return OpenAiStream(ask, SHOWN, lambda _: EngineFault("boom"), finish_reasons or {})


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": more.pop("index", 0), "delta": delta, "finish_reason": finish}
    return encoded({"model": "engine", "choices": [choice], **more})


def encoded(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return b"data: " + text.encode() + b"\n\n"


def read(event: bytes | None) -> Any:
    assert event is not None
    return json.loads(event.removeprefix(b"data:"))


@given(texts=st.lists(st.text(min_size=1), min_size=1))
def test_texts_arrive_as_they_were_and_the_model_is_the_asked_one(texts: list[str]) -> None:
    stream = a_stream()
    for text in texts:
        shown = read(stream.event(chunk(text)))
        assert shown["choices"][0]["delta"]["content"] == text
        assert shown["model"] == "public"
    assert stream.content_events == len(texts)


@given(
    texts=st.lists(st.text(min_size=1), min_size=2),
    names=st.lists(st.sampled_from(["engine", "public", "x"]), min_size=2),
    extras=st.lists(st.none() | st.text(max_size=3), min_size=2),
)
def test_a_likeness_never_hides_a_difference(
    texts: list[str], names: list[str], extras: list[str | None]
) -> None:
    stream = a_stream()
    for text, name, extra in zip(texts, names, extras, strict=False):
        event = chunk(text, model=name, extra=extra)
        assert read(stream.event(event)) == read(event) | {"model": "public"}


def test_nothing_changes_where_the_names_agree() -> None:
    stream = a_stream()
    event = b'data: { "model": "public", "choices": [ {"delta": {"content": "a"}} ] }\n\n'
    assert stream.event(event) == event


def test_a_models_name_with_spaces_around_it_is_found() -> None:
    stream = a_stream()
    event = b'data: {"model" : "engine", "choices": [{"delta": {"content": "a"}}]}\n\n'
    assert read(stream.event(event))["model"] == "public"


def test_a_models_name_in_the_text_is_no_models_name() -> None:
    stream = a_stream()
    text = '"model":"engine"'
    shown = read(stream.event(encoded({"choices": [{"delta": {"content": text}}]})))
    assert shown["choices"][0]["delta"]["content"] == text
    assert "model" not in shown


@pytest.mark.parametrize(
    "delta",
    [{"content": "a"}, {"reasoning": "a"}, {"reasoning_content": "a"}, {"tool_calls": [{}]}],
)
def test_every_kind_of_content_counts(delta: dict[str, Any]) -> None:
    stream = a_stream()
    stream.event(encoded({"choices": [{"delta": delta}]}))
    assert stream.content_events == 1


@pytest.mark.parametrize(
    "delta", [{}, {"role": "assistant", "content": ""}, {"content": None}, {"tool_calls": None}]
)
def test_a_role_alone_is_no_content(delta: dict[str, Any]) -> None:
    stream = a_stream()
    stream.event(encoded({"choices": [{"delta": delta}]}))
    assert stream.content_events == 0


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_chunk_is_for_those_who_asked(asked: bool) -> None:
    stream = a_stream(include_usage=asked)
    stream.event(chunk("a", "stop"))
    shown = stream.event(encoded({"model": "public", "choices": [], "usage": USAGE}))
    assert (shown is not None) is asked
    assert stream.usage == Usage(3, 2)


def test_usage_beside_content_stays() -> None:
    stream = a_stream()
    assert read(stream.event(chunk("a", usage=USAGE)))["usage"] == USAGE
    assert stream.usage == Usage(3, 2)


def test_absurd_usage_is_none() -> None:
    stream = a_stream()
    stream.event(encoded({"model": "public", "choices": [], "usage": {"prompt_tokens": -1}}))
    assert stream.usage is None


def test_done_after_every_choice_has_finished_is_complete() -> None:
    stream = a_stream()
    stream.event(chunk("a", index=0))
    stream.event(chunk("b", index=1))
    stream.event(chunk(None, "stop", index=0))
    stream.event(chunk(None, "length", index=1))
    assert stream.event(DONE) == DONE
    assert stream.is_complete
    assert stream.end() is None


def test_done_while_a_choice_is_unfinished_is_broken() -> None:
    stream = a_stream()
    stream.event(chunk("a", index=0))
    stream.event(chunk(None, "stop", index=1))
    assert stream.event(DONE) is None
    assert isinstance(stream.failure, StreamBroken)


def test_a_usage_chunk_proves_an_end_as_well_as_a_finish_reason() -> None:
    stream = a_stream()
    stream.event(chunk("a"))
    stream.event(encoded({"choices": [], "usage": USAGE}))
    assert stream.end() == DONE
    assert stream.is_complete


def test_an_abort_is_a_failure_and_not_shown() -> None:
    stream = a_stream()
    assert stream.event(chunk("a", "abort")) is None
    assert isinstance(stream.failure, StreamBroken)
    assert stream.end() is None


def test_an_error_event_is_a_failure_and_not_shown() -> None:
    stream = a_stream()
    assert stream.event(encoded({"error": {"message": "boom"}})) is None
    assert isinstance(stream.failure, EngineFault)


def test_an_error_of_null_is_none() -> None:
    stream = a_stream()
    assert stream.event(chunk("a", error=None)) is not None
    assert stream.failure is None


def test_the_engines_own_finish_reasons_become_openais() -> None:
    stream = a_stream(finish_reasons={"eos": "stop"})
    shown = read(stream.event(chunk("a", "eos")))
    assert shown["choices"][0]["finish_reason"] == "stop"
    assert stream.finish_reason == "stop"


def test_only_the_engines_own_words_are_changed() -> None:
    stream = a_stream(finish_reasons={"eos": "stop"})
    event = encoded(
        {
            "model": "public",
            "choices": [
                {"index": 0, "delta": {}, "finish_reason": "eos"},
                {"index": 1, "delta": {"content": "x"}, "finish_reason": None},
                {"index": 2, "delta": {}, "finish_reason": "length"},
            ],
        }
    )
    shown = read(stream.event(event))
    assert [c["finish_reason"] for c in shown["choices"]] == ["stop", None, "length"]


def test_what_cannot_be_read_passes_and_counts_as_content() -> None:
    stream = a_stream()
    assert stream.event(b"data: {nonsense\n\n") == b"data: {nonsense\n\n"
    assert stream.content_events == 1


def test_empty_data_is_dropped() -> None:
    assert a_stream().event(b"data:\n\n") is None


def test_other_spellings_of_an_event_are_read() -> None:
    stream = a_stream()
    event = b'event: x\r\ndata:{"model":"engine","choices":[{"delta":{"content":"a"}}]}\r\n\r\n'
    shown = stream.event(event)
    assert shown == event.replace(b"engine", b"public")
    assert stream.content_events == 1


def test_completions_texts_are_content_too() -> None:
    stream = a_stream()
    for text in ("a", "b"):
        event = encoded({"model": "engine", "choices": [{"index": 0, "text": text}]})
        assert read(stream.event(event))["choices"][0]["text"] == text
    assert stream.content_events == 2


def test_a_name_on_both_sides_of_the_text_is_shown_on_both() -> None:
    stream = a_stream()
    for text in ("a", "b"):
        event = encoded(
            {"model": "engine", "choices": [{"delta": {"content": text}}], "x": "after"}
        )
        assert read(stream.event(event)) == read(event) | {"model": "public"}


def test_a_name_after_the_text_is_shown_too() -> None:
    stream = a_stream()
    for text in ("a", "b", "c"):
        event = encoded({"choices": [{"delta": {"content": text}}], "model": "engine"})
        assert read(stream.event(event)) == read(event) | {"model": "public"}
