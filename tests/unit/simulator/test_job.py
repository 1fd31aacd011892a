import pytest

from gateway.simulator.job import Body, asked_tokens, dumps


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, None),
        ({"max_tokens": 3}, 3),
        ({"max_tokens": 3, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 3, "max_completion_tokens": None}, 3),
        ({"max_tokens": "many"}, None),
    ],
)
def test_the_newer_name_of_the_length_comes_first(body: Body, tokens: int | None) -> None:
    assert asked_tokens(body) == tokens


def test_json_is_written_without_spaces_and_escapes() -> None:
    assert dumps({"a": ["é", 1]}) == '{"a":["é",1]}'
