import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.usage import Usage, count_output, read_usage


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, Usage(5, 2)),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5, 0)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, Usage(5, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {}}, Usage(5, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": None}}, Usage(5, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}, Usage(5, 0, 3)),
    ],
)
def test_counts_are_read_as_engines_report_them(reported: dict[str, object], usage: Usage) -> None:
    assert read_usage(json.dumps(reported).encode()) == usage
    assert read_usage(msgspec.Raw(json.dumps(reported).encode())) == usage


@pytest.mark.parametrize(
    "reported",
    [
        "null",
        "{}",
        "[]",
        "3",
        '"x"',
        "{",
        "",
        '{"prompt_tokens": null}',
        '{"prompt_tokens": "5"}',
        '{"prompt_tokens": 5.5}',
        '{"prompt_tokens": true}',
        '{"prompt_tokens": 5, "completion_tokens": null}',
    ],
)
def test_what_is_no_usage_is_unknown(reported: str) -> None:
    assert read_usage(reported.encode()) is None


@pytest.mark.parametrize("count", [-1, 1 << 40, 10**30])
@pytest.mark.parametrize("field", ["prompt", "completion", "cached"])
def test_counts_that_cannot_be_true_are_unknown(field: str, count: int) -> None:
    counts = {"prompt": 5, "completion": 5, "cached": 5} | {field: count}
    reported = {
        "prompt_tokens": counts["prompt"],
        "completion_tokens": counts["completion"],
        "prompt_tokens_details": {"cached_tokens": counts["cached"]},
    }
    assert read_usage(json.dumps(reported).encode()) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_unknown(reported: bytes) -> None:
    usage = read_usage(reported)
    assert usage is None or usage.prompt_tokens >= 0


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"choices":[{"message":{"content":"12345678"}}]}', 2),
        (b'{"choices":[{"text":"1234"},{"text":"12345"}]}', 3),
        (b'{"choices":[{"message":{"content":null}},{}]}', 0),
        (b'{"choices":[{"message":null}]}', 0),
        (b'{"generated_text":"\xc3\xa4\xc3\xa4\xc3\xa4"}', 2),
        (b'{"data":[]}', 0),
        (b"[]", 0),
    ],
)
def test_output_that_nobody_counted_is_measured(body: bytes, tokens: int) -> None:
    assert count_output(body) == tokens
