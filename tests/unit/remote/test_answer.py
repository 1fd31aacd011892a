from gateway.remote.answer import Answer, answer_of
from gateway.remote.failure import timed_out
from gateway.remote.reading import Reading
from gateway.wire.usage import Usage

CHUNK = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'


def a_reading() -> Reading:
    reading = Reading()
    reading.feed(CHUNK, 2.0)
    reading.end()
    return reading


def test_a_whole_answer_ended_with_its_last_bytes() -> None:
    answer = answer_of(a_reading(), 1.0, 9.0)
    assert (answer.sent_s, answer.ended_s, answer.text) == (1.0, 2.0, "a")


def test_a_failed_one_ended_when_that_was_known() -> None:
    answer = answer_of(a_reading(), 1.0, 9.0, timed_out(8))
    assert answer.ended_s == 9.0
    assert answer.failure == timed_out(8)
    assert answer_of(Reading(), 1.0, 9.0).ended_s == 9.0


def test_tokens_are_counted_by_the_endpoint_or_else_by_events() -> None:
    assert answer_of(a_reading(), 1.0, 9.0).completion_tokens == 1
    assert Answer(0.0, 1.0, usage=Usage(3, 7)).completion_tokens == 7
