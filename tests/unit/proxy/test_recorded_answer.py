from gateway.proxy.recorded_answer import MAX_BYTES, RecordedAnswer
from tests.support.fake_client import FakeClient


def test_the_client_gets_all_of_it_and_a_copy_is_kept() -> None:
    client = FakeClient()
    answer = RecordedAnswer(client)
    answer.start(200, ())
    answer.write(b"one")
    answer.write(b"two")
    answer.finish()
    assert bytes(answer.body) == b"onetwo"
    assert answer.has_started
    assert answer.is_finished
    assert not answer.is_gone
    assert answer.blocked_since_s is client.blocked_since_s


def test_a_whole_answer_is_kept_too() -> None:
    answer = RecordedAnswer(FakeClient())
    answer.respond(200, (), b"body")
    assert bytes(answer.body) == b"body"
    assert not answer.is_cut
    assert answer.is_finished


def test_what_is_kept_is_bounded() -> None:
    answer = RecordedAnswer(FakeClient())
    answer.start(200, ())
    for _ in range(3):
        answer.write(b"x" * (MAX_BYTES - 10))
    assert len(answer.body) == MAX_BYTES
    assert answer.is_cut


def test_pressure_and_aborts_reach_the_client() -> None:
    client = FakeClient()
    answer = RecordedAnswer(client)
    answer.on_pressure(lambda: None, lambda: None)
    answer.abort()
    assert answer.is_gone
