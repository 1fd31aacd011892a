"""What every engine adapter keeps, whatever an engine says."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engines import ENGINES
from gateway.engines.adapter import EngineAdapter, Load, Served, Shown, State
from gateway.errors import GatewayError
from gateway.wire.ask import Ask, Operation, read_ask

SHOWN = Shown("public", "chatcmpl-1", 7)
BODIES: dict[Operation, dict[str, Any]] = {
    Operation.CHAT: {"model": "public", "messages": [{"role": "user", "content": "Hello"}]},
    Operation.COMPLETION: {"model": "public", "prompt": "Hello"},
    Operation.EMBEDDINGS: {"model": "public", "input": "Hello"},
    Operation.GENERATE: {"inputs": "Hello"},
}
junk = st.one_of(
    st.binary(max_size=80),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "choices", "delta", "usage", "message", "code", "x"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.fixture(params=ENGINES)
def adapter(request: pytest.FixtureRequest) -> EngineAdapter:
    return ENGINES[request.param]


def ask_for(operation: Operation, **more: Any) -> Ask:
    body = msgspec.json.encode(BODIES[operation] | more)
    return read_ask(body, operation, model="public" if operation is Operation.GENERATE else None)


def no_header(_: bytes) -> None:
    return None


def test_the_registrys_name_is_the_adapters(adapter: EngineAdapter) -> None:
    assert ENGINES[adapter.kind] is adapter


@pytest.mark.parametrize("stream", [False, True])
def test_every_operation_becomes_one_json_request(adapter: EngineAdapter, stream: bool) -> None:
    for operation in adapter.operations:
        ask = ask_for(operation, stream=stream)
        request = adapter.prepare(ask, Served("served", "sk-1"), "req-9")
        assert request.method == "POST"
        assert request.path.startswith("/")
        assert isinstance(json.loads(request.body), dict)
        headers = dict((*request.fixed, *request.headers))
        assert headers[b"authorization"] == b"Bearer sk-1"
        assert headers[b"x-request-id"] == b"req-9"
        assert headers[b"content-type"] == b"application/json"


def test_without_a_key_of_ours_none_is_sent(adapter: EngineAdapter) -> None:
    request = adapter.prepare(ask_for(Operation.CHAT), Served("served"), "req-9")
    assert b"authorization" not in dict((*request.fixed, *request.headers))


def test_the_body_of_the_call_stays_as_it_was(adapter: EngineAdapter) -> None:
    ask = ask_for(Operation.CHAT, stream=True, top_k=3, unknown={"a": 1})
    before = dict(ask.fields)
    body = json.loads(adapter.prepare(ask, Served("served"), "r").body)
    assert ask.fields == before
    assert body["top_k"] == 3
    assert body["unknown"] == {"a": 1}
    assert body["stream_options"] == {"include_usage": True}


@given(status=st.integers(300, 599), body=junk, retry_after=st.none() | st.binary(max_size=9))
@settings(max_examples=60)
def test_any_refusal_is_a_failure_with_a_name(
    status: int, body: bytes, retry_after: bytes | None
) -> None:
    for adapter in ENGINES.values():
        failure = adapter.refusal(status, body, retry_after)
        assert isinstance(failure, GatewayError)
        assert failure.status >= 400
        assert failure.public


@given(body=junk)
@settings(max_examples=60)
def test_an_answer_is_whole_or_a_failure(body: bytes) -> None:
    for adapter in ENGINES.values():
        for operation in adapter.operations:
            try:
                answer = adapter.answer(ask_for(operation), body, no_header, SHOWN)
            except GatewayError:
                continue
            assert isinstance(json.loads(answer.body), dict)


@given(data=st.lists(junk, max_size=6))
@settings(max_examples=60)
def test_a_stream_of_nonsense_never_raises_and_never_ends_well(data: list[bytes]) -> None:
    for adapter in ENGINES.values():
        for operation in adapter.operations - {Operation.EMBEDDINGS}:
            stream = adapter.stream(ask_for(operation, stream=True), SHOWN)
            for piece in data:
                stream.event(b"data: " + piece.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n")
            stream.end()
            assert stream.failure is not None or stream.is_complete


def test_comments_pass(adapter: EngineAdapter) -> None:
    for operation in adapter.operations - {Operation.EMBEDDINGS}:
        stream = adapter.stream(ask_for(operation, stream=True), SHOWN)
        assert stream.event(b": ping\n\n") == b": ping\n\n"
        assert stream.content_events == 0


def test_an_end_without_anything_is_a_failure(adapter: EngineAdapter) -> None:
    for operation in adapter.operations - {Operation.EMBEDDINGS}:
        stream = adapter.stream(ask_for(operation, stream=True), SHOWN)
        assert stream.end() is None
        assert stream.failure is not None
        assert not stream.is_complete


@given(status=st.integers(100, 599), body=junk)
@settings(max_examples=60)
def test_only_200_is_healthy(status: int, body: bytes) -> None:
    for adapter in ENGINES.values():
        state = adapter.state(status, body)
        assert (state is State.READY) == (status == 200)


@given(body=junk)
@settings(max_examples=60)
def test_a_list_of_models_that_cannot_be_read_makes_no_engine_misconfigured(body: bytes) -> None:
    for adapter in ENGINES.values():
        assert adapter.model_state(200, body, "m") is State.READY


@given(body=junk)
@settings(max_examples=60)
def test_unreadable_figures_are_unknown(body: bytes) -> None:
    for adapter in ENGINES.values():
        assert adapter.load(body) == Load()
