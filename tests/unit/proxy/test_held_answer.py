from gateway.proxy.held_answer import HeldAnswer
from tests.support.fake_client import FakeClient


def test_nothing_is_told_until_it_is_said_so() -> None:
    client = FakeClient()
    held = HeldAnswer(client)
    held.respond(200, ((b"x-a", b"1"),), b"hi")
    assert held.has_started
    assert held.is_finished
    assert not client.has_started
    held.tell()
    assert (client.status, client.headers, client.body) == (200, {b"x-a": b"1"}, b"hi")
    assert client.is_finished


def test_pieces_are_kept_as_one_answer() -> None:
    client = FakeClient()
    held = HeldAnswer(client)
    held.on_pressure(lambda: None, lambda: None)
    held.start(200, ())
    held.write(b"a")
    held.write(b"b")
    assert not held.is_finished
    held.finish()
    held.tell()
    assert client.body == b"ab"


def test_the_client_behind_it_is_the_one_that_leaves() -> None:
    client = FakeClient()
    held = HeldAnswer(client)
    before = held.is_gone
    held.abort()
    assert (before, held.is_gone, client.is_aborted) == (False, True, True)
