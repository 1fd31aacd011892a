import anyio

from gateway.proxy.heartbeats import Heartbeats
from tests.support.fake_client import FakeClient
from tests.support.running import until

HEAD = ((b"x-request-id", b"id-1"),)


async def test_the_first_comment_brings_the_head_and_they_stop_with_the_wait() -> None:
    client = FakeClient()
    with Heartbeats(client, HEAD, 0.01):
        assert not client.has_started
        await until(lambda: len(client.writes) >= 3, within_s=20)
    count = len(client.writes)
    assert client.body == b": ping\n\n" * count
    assert (client.status, client.headers) == (200, dict(HEAD))
    await anyio.sleep(0.05)
    assert len(client.writes) == count


async def test_a_wait_that_is_short_sends_nothing() -> None:
    client = FakeClient()
    with Heartbeats(client, HEAD, 60.0):
        await anyio.sleep(0.01)
    assert not client.has_started


async def test_a_client_that_does_not_read_gets_no_more_and_one_that_left_gets_none() -> None:
    client = FakeClient()
    client.blocked_since_s = 0.0
    with Heartbeats(client, HEAD, 0.01):
        await until(lambda: client.has_started, within_s=20)
        assert client.writes == []
        client.blocked_since_s = None
        await until(lambda: bool(client.writes), within_s=20)
        client.is_gone = True
        await anyio.sleep(0.05)
        count = len(client.writes)
        await anyio.sleep(0.05)
        assert len(client.writes) == count
