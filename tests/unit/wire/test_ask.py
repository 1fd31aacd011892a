import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.wire.ask import (
    TRUE,
    Ask,
    Operation,
    encode_string,
    read_ask,
    read_fields,
)

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def chat(**fields: Any) -> Ask:
    return read_ask(json.dumps(CHAT | fields).encode(), Operation.CHAT)


def refused(body: bytes, operation: Operation = Operation.CHAT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        read_ask(body, operation)
    return raised.value


def refused_chat(**fields: Any) -> InvalidRequest:
    return refused(json.dumps(CHAT | fields).encode())


# what is read


def test_the_least_a_call_can_say() -> None:
    body = json.dumps(CHAT).encode()
    ask = read_ask(body, Operation.CHAT)
    assert (ask.operation, ask.model, ask.stream) == (Operation.CHAT, "m", False)
    assert (ask.include_usage, ask.max_tokens, ask.n) == (False, None, 1)
    assert ask.body_bytes == len(body)
    assert set(ask.fields) == {"model", "messages"}


def test_everything_that_is_read() -> None:
    ask = chat(stream=True, stream_options={"include_usage": True, "x": 1}, max_tokens=7, n=3)
    assert (ask.stream, ask.include_usage, ask.max_tokens, ask.n) == (True, True, 7, 3)


def test_null_is_as_good_as_absent() -> None:
    ask = chat(
        stream=None, stream_options=None, max_tokens=None, max_completion_tokens=None, n=None
    )
    assert (ask.stream, ask.include_usage, ask.max_tokens, ask.n) == (False, False, None, 1)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": None}, {"include_usage": False}])
def test_usage_is_included_only_when_asked_for(options: object) -> None:
    assert not chat(stream=True, stream_options=options).include_usage


def test_stream_options_of_a_call_that_does_not_stream_are_the_engine_s_business() -> None:
    assert not chat(stream_options="nonsense").include_usage


@pytest.mark.parametrize(
    ("new", "old", "smallest"), [(5, 9, 5), (9, 5, 5), (None, 5, 5), (5, None, 5), (0, 5, 0)]
)
def test_the_smaller_of_both_token_limits_counts(
    new: int | None, old: int | None, smallest: int
) -> None:
    assert chat(max_completion_tokens=new, max_tokens=old).max_tokens == smallest


def test_no_choices_at_all_count_as_one() -> None:
    assert chat(n=0).n == 1


def test_a_model_that_the_path_names_wins() -> None:
    assert read_ask(b'{"inputs": "hi", "model": 3}', Operation.GENERATE, model="named").model == (
        "named"
    )


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Operation.CHAT, {"messages": []}),
        (Operation.COMPLETION, {"prompt": "hi"}),
        (Operation.COMPLETION, {"prompt": ["a", "b"]}),
        (Operation.COMPLETION, {"prompt_embeds": "AAAA"}),
        (Operation.EMBEDDINGS, {"input": "hi"}),
        (Operation.EMBEDDINGS, {"input": [1, 2]}),
        (Operation.EMBEDDINGS, {"messages": []}),
        (Operation.GENERATE, {"inputs": "hi"}),
    ],
)
def test_every_way_to_give_content_is_taken(
    operation: Operation, fields: dict[str, object]
) -> None:
    body = json.dumps(fields | {"model": "m"}).encode()
    assert read_ask(body, operation).operation is operation


# what is refused


@pytest.mark.parametrize(
    ("operation", "param"),
    [
        (Operation.CHAT, "messages"),
        (Operation.COMPLETION, "prompt"),
        (Operation.EMBEDDINGS, "input"),
        (Operation.GENERATE, "inputs"),
    ],
)
@pytest.mark.parametrize("value", [None, 3, True, {}])
def test_content_of_the_wrong_kind_is_refused(
    operation: Operation, param: str, value: object
) -> None:
    error = refused(json.dumps({"model": "m", param: value}).encode(), operation)
    assert error.param == param
    assert "must be" in error.public


@pytest.mark.parametrize("operation", Operation)
def test_a_call_without_content_is_refused(operation: Operation) -> None:
    error = refused(b'{"model": "m"}', operation)
    assert error.public == f"missing required parameter: '{error.param}'"


@pytest.mark.parametrize(
    ("model", "words"),
    [("3", "must be a string"), ("null", "must be a string"), ('""', "must not be empty")],
)
def test_a_model_that_is_no_name_is_refused(model: str, words: str) -> None:
    error = refused(b'{"messages": [], "model": %b}' % model.encode())
    assert error.param == "model"
    assert words in error.public


def test_a_call_without_a_model_is_refused() -> None:
    error = refused(b'{"messages": []}')
    assert (error.param, error.public) == ("model", "missing required parameter: 'model'")


@pytest.mark.parametrize("param", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("value", ["7", 7.5, True, [], {}])
def test_a_number_that_is_none_is_refused(param: str, value: object) -> None:
    error = refused_chat(**{param: value})
    assert (error.param, error.public) == (param, f"'{param}' must be an integer")


@pytest.mark.parametrize("value", ["true", 1, [], {}])
def test_a_stream_that_is_neither_true_nor_false_is_refused(value: object) -> None:
    assert refused_chat(stream=value).param == "stream"


@pytest.mark.parametrize("value", ["x", 1, [], {"include_usage": 1}])
def test_stream_options_of_the_wrong_kind_are_refused(value: object) -> None:
    assert refused_chat(stream=True, stream_options=value).param == "stream_options"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"3", b"true", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert refused(body).public == "the body must be a JSON object"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":1} x',
        b'{"a":NaN}',
        b"{'a':1}",
        b'{"a":1,}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\x01"}',
        b'{"a":"\\ud800"}',
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    assert refused(body).public.startswith("the body is not valid JSON")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_body_nested_100_000_deep_is_refused(opening: bytes) -> None:
    body = b'{"model":"m","messages":%b}' % (opening * 100_000)
    assert refused(body).public == "the body is nested too deeply"


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"]
)
def test_a_body_that_is_not_utf_8_is_refused_and_told_where(text: bytes) -> None:
    body = b'{"model":"m","messages":["%b"]}' % text
    assert refused(body).public == "the body is not valid UTF-8 at byte 26"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        read_ask(body, Operation.CHAT)
    except InvalidRequest as error:
        assert error.public  # noqa: PT017 - either outcome is fine, any other is not


# one meaning for us and the engine


@pytest.mark.parametrize("again", ["model", "mod\\u0065l"])
def test_the_last_of_a_duplicated_key_counts_for_both(again: str) -> None:
    body = b'{"model":"cheap","messages":[],"%b":"dear"}' % again.encode()
    ask = read_ask(body, Operation.CHAT)
    assert ask.model == "dear"
    assert json.loads(ask.edited({})) == {"model": "dear", "messages": []}
    assert ask.edited({}).count(b"model") == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=10))
def test_duplicates_resolve_as_python_and_engines_resolve_them(
    pairs: list[tuple[str, int]],
) -> None:
    body = "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
    ask = Ask(Operation.CHAT, "m", False, read_fields(body.encode()), len(body))
    assert json.loads(ask.edited({})) == dict(pairs)


@given(st.dictionaries(st.text(max_size=10), values, max_size=6), st.booleans())
def test_encoding_again_changes_nothing(fields: dict[str, Any], is_ascii: bool) -> None:
    body = json.dumps(CHAT | {f"x-{k}": v for k, v in fields.items()}, ensure_ascii=is_ascii)
    ask = read_ask(body.encode(), Operation.CHAT)
    assert json.loads(ask.edited({})) == json.loads(body)
    assert read_ask(ask.edited({}), Operation.CHAT).edited({}) == ask.edited({})


def test_values_keep_their_very_bytes() -> None:
    body = b'{"model":"m","messages":[ {"a" : 1.50e+02} ],"seed":12345678901234567890123}'
    assert read_ask(body, Operation.CHAT).edited({}) == body


def test_an_edit_replaces_adds_and_removes() -> None:
    ask = chat(stream=False, user="u")
    edited = ask.edited(
        {"stream": TRUE, "model": encode_string('sérved"\n'), "user": None, "absent": None}
    )
    assert json.loads(edited) == CHAT | {"stream": True, "model": 'sérved"\n'}
    assert json.loads(ask.edited({})) == CHAT | {"stream": False, "user": "u"}


def test_the_order_of_fields_is_kept() -> None:
    ask = chat(b=1, a=2)
    assert list(json.loads(ask.edited({"messages": msgspec.Raw(b"[]")}))) == [
        "model",
        "messages",
        "b",
        "a",
    ]
