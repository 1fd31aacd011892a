import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.refused import Refused, token_ids, wrong_field

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_refusal_says_what_it_is_about() -> None:
    refused = Refused(400, "no", kind="Bad Request", param="n")
    assert (str(refused), refused.status, refused.kind, refused.param) == (
        "no",
        400,
        "Bad Request",
        "n",
    )


def test_a_sound_request_has_no_wrong_field() -> None:
    sound = {
        "model": "m",
        "messages": [{"role": "user"}],
        "stream": True,
        "temperature": 1,
        "top_p": 0.5,
        "stop": ["a"],
        "n": None,
        "unknown": object(),
    }
    assert wrong_field(sound) is None


@pytest.mark.parametrize(
    ("name", "value", "wanted", "given"),
    [
        ("model", 5, "string", "number"),
        ("messages", "Hello", "array", "string"),
        ("messages", ["Hello"], "object", "string"),
        ("stream", 1, "boolean", "number"),
        ("temperature", "warm", "number", "string"),
        ("temperature", True, "number", "boolean"),
        ("max_tokens", 1.5, "number", "number"),
        ("stop", {}, "string", "object"),
        ("stop", [None], "string", "null"),
        ("stream_options", [], "object", "array"),
        ("tools", [5], "object", "number"),
    ],
)
def test_the_first_wrong_field_is_named(name: str, value: object, wanted: str, given: str) -> None:
    assert wrong_field({"n": 1, name: value}) == (name, wanted, given)


@given(st.dictionaries(st.sampled_from(["messages", "stop", "n", "tools", "model"]), JSON))
def test_any_json_is_sound_or_has_a_wrong_field(body: dict[str, object]) -> None:
    assert wrong_field(body) is None or len(wrong_field(body) or ()) == 3


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ([1, 2], (1, 2)),
        ([], None),
        ("ab", None),
        (None, None),
        ([True], None),
        ([1, "a"], None),
    ],
)
def test_only_a_list_of_whole_numbers_is_token_ids(value: object, ids: object) -> None:
    assert token_ids(value) == ids
