import json
from typing import Any

import pytest

from gateway.remote.reading import MAX_EVENT_BYTES, Reading


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chat(finish: str | None = None, **delta: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


ROLE = chat(role="assistant", content="")
DONE = b"data: [DONE]\n\n"
USAGE = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})


def read(*pieces: bytes) -> Reading:
    """The n-th piece arrives at second n, from 1."""
    reading = Reading()
    for at_s, piece in enumerate(pieces, 1):
        reading.feed(piece, float(at_s))
    reading.end()
    return reading


def test_content_has_the_time_of_its_bytes_and_a_role_has_none() -> None:
    reading = read(ROLE, chat(content="He"), chat("stop", content="llo"), USAGE, DONE)
    assert list(reading.times_s) == [2.0, 3.0]
    assert (reading.text, reading.finish_reason) == ("Hello", "stop")
    assert reading.usage is not None
    assert reading.usage.completion_tokens == 2
    assert reading.failure is None
    assert reading.last_s == 5.0


def test_events_cut_anywhere_are_the_same() -> None:
    whole = ROLE + chat(content="a") + chat("length", content="b") + DONE
    reading = read(*(whole[i : i + 7] for i in range(0, len(whole), 7)))
    assert reading.text == "ab"
    assert reading.failure is None


def test_events_that_arrive_together_have_one_time() -> None:
    reading = read(chat(content="a") + chat("stop", content="b"))
    assert list(reading.times_s) == [1.0, 1.0]


def test_reasoning_and_tool_calls_are_content_but_no_text() -> None:
    reading = read(
        chat(reasoning="hm"),
        chat(reasoning_content="hm"),
        chat(tool_calls=[{"index": 0}]),
        chat("stop", content="!", tool_calls=[]),
    )
    assert len(reading.times_s) == 4
    assert reading.text == "!"


def test_text_completions_and_their_logprobs() -> None:
    logprobs = {"tokens": ["a"]}
    reading = read(
        event(choices=[{"text": "a", "logprobs": logprobs, "finish_reason": None}]),
        event(choices=[{"text": "", "logprobs": None, "finish_reason": "length"}]),
    )
    assert reading.text == "a"
    assert [json.loads(bytes(raw)) for raw in reading.logprobs] == [logprobs]
    assert list(reading.times_s) == [1.0]


def test_comments_and_other_fields_are_passed_over() -> None:
    reading = read(b": ping\n\n", b"event: x\nid: 1\n\n", b"data:\n\n", chat("stop", content="a"))
    assert (reading.text, reading.failure) == ("a", None)


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (ROLE, chat(content="a")),
        (ROLE, chat(content="a"), DONE),
        (ROLE, chat(content="a"), USAGE),
    ],
)
def test_a_stream_that_ends_quietly_before_its_end_is_a_failure(pieces: tuple[bytes, ...]) -> None:
    failure = read(*pieces).failure
    assert failure is not None
    assert failure.label == "stream cut short"


def test_usage_and_done_are_an_end_too() -> None:
    assert read(chat(content="a"), USAGE, DONE).failure is None


def test_an_error_event_ends_the_reading() -> None:
    reading = read(chat(content="a"), event(error={"message": "m", "code": 500}), chat("stop"))
    assert reading.failure is not None
    assert (reading.failure.label, reading.failure.message) == ("error event 500", "m")
    assert reading.finish_reason is None


def test_the_rest_of_a_piece_with_an_error_is_not_read() -> None:
    reading = read(event(error={"message": "m"}) + chat("stop", content="a"))
    assert reading.text == ""


def test_abort_is_no_end() -> None:
    failure = read(chat("abort", content="")).failure
    assert failure is not None
    assert failure.label == "aborted"


def test_what_is_no_chunk_is_told() -> None:
    for garbage in (b"data: {oops\n\n", b"data: [1]\n\n"):
        failure = read(garbage).failure
        assert failure is not None
        assert failure.label == "unreadable answer"


def test_an_event_without_end_is_not_kept() -> None:
    failure = read(b"data: " + b"x" * (MAX_EVENT_BYTES + 1)).failure
    assert failure is not None
    assert "bytes" in failure.message


def test_usage_that_cannot_be_true_is_none() -> None:
    reading = read(event(choices=[], usage={"prompt_tokens": -1}), chat("stop", content="a"))
    assert reading.usage is None
