from gateway.proxy.mirror.shadow_client import ShadowClient


class Given:
    def __init__(self) -> None:
        self.up = 0

    def __call__(self) -> None:
        self.up += 1


def test_an_answer_is_kept_whole_or_in_pieces() -> None:
    given = Given()
    client = ShadowClient(10, given)
    client.start(200, ())
    client.write(b"one")
    client.write(b"two")
    assert client.has_started
    assert not client.is_finished
    client.finish()
    assert (bytes(client.body), client.is_finished, given.up) == (b"onetwo", True, 0)
    whole = ShadowClient(10, given)
    whole.respond(200, (), b"body")
    assert (bytes(whole.body), whole.is_finished) == (b"body", True)


def test_one_that_is_too_large_is_given_up_once_and_nothing_of_it_is_held() -> None:
    given = Given()
    client = ShadowClient(5, given)
    client.start(200, ())
    for _ in range(3):
        client.write(b"four")
    assert (client.is_too_large, given.up, len(client.body)) == (True, 1, 0)


def test_nobody_is_there_to_be_slow_or_to_leave() -> None:
    client = ShadowClient(5, Given())
    client.on_pressure(lambda: None, lambda: None)
    client.abort()
    assert not client.is_gone
    assert client.blocked_since_s is None
