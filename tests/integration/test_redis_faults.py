"""Redis fails under load, in every way it can: no request waits for it, and no unit is lost.

What callers used is added up here and compared with what Redis holds afterwards.
"""

import logging
import time
from collections.abc import Callable, Iterator

import anyio
import pytest
import redis

from gateway.limits.store import StoreState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from tests.support.limit_load import (
    Load,
    a_load,
    a_store,
    assert_sums,
    slots_in,
    units_in,
)
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
# what a machine that has too much to do may add to any story
SLOW = {"timeout"}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


@pytest.fixture
def story(caplog: pytest.LogCaptureFixture) -> "Story":
    caplog.set_level(logging.WARNING)
    return Story(caplog)


class Story:
    """The log lines of the store, as `state` or `state: reason`."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def lines(self) -> list[str]:
        return [
            ": ".join(filter(None, (getattr(record, F.STATE), getattr(record, F.REASON, None))))
            for record in self._caplog.records
            if record.message == F.LIMIT_STORE
        ]


async def test_redis_may_come_after_the_gateway(story: Story) -> None:
    with a_redis(is_started=False) as server:
        async with a_store(server.url) as opened:
            assert opened.store.state is StoreState.LOCAL
            load = Load((opened,))
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(load.call, number)
                await load.goes_on(50, "local")
                server.start()
                load.began_s = time.monotonic()
                await load.goes_on(50, "granted")
                load.is_over = True
            await opened.is_done()
            with server.client() as client:
                assert_sums(load, client)
            assert opened.failures() - SLOW == {"unreachable"}
    assert story.lines == ["local: unreachable", "ok"]


async def test_a_killed_redis_comes_back_empty_and_is_told(
    server: RedisServer, client: redis.Redis, story: Story
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        server.kill()
        await load.goes_on(50, "local")
        server.start()
        await load.goes_on(50, "granted")
    assert_sums(load, client)
    assert story.lines[0].startswith("local: ")
    assert story.lines[-1] == "ok"
    assert "unreachable" in opened.failures()


async def test_a_redis_that_stands_still_does_nothing_late(
    server: RedisServer, client: redis.Redis, story: Story
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        server.pause()
        await load.goes_on(50, "local")
        await anyio.sleep(2)
        server.go_on()
        await load.goes_on(50, "granted")
    assert_sums(load, client)
    assert "local: timeout" in story.lines
    assert story.lines[-1] == "ok"


async def test_a_full_memory_is_done_without(
    server: RedisServer, client: redis.Redis, story: Story
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        client.config_set("maxmemory", 1)
        await load.goes_on(50, "local")
        client.config_set("maxmemory", 0)
        await load.goes_on(50, "granted")
    assert_sums(load, client)
    assert opened.failures() - SLOW == {"out_of_memory"}
    assert "local: out_of_memory" in story.lines
    assert story.lines[-1] == "ok"


async def test_a_master_that_turns_replica_is_done_without(
    server: RedisServer, client: redis.Redis, story: Story
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        client.replicaof("127.0.0.1", "1")
        await load.goes_on(50, "local")
        client.replicaof("NO", "ONE")
        await load.goes_on(50, "granted")
    assert_sums(load, client)
    assert opened.failures() - SLOW == {"read_only"}
    assert "local: read_only" in story.lines
    assert story.lines[-1] == "ok"


async def test_an_access_that_is_taken_away_is_done_without(
    server: RedisServer, client: redis.Redis, story: Story
) -> None:
    def let_in() -> None:
        client.acl_setuser(
            "gateway",
            enabled=True,
            passwords=["+secret"],
            keys=["sluicegate:*"],
            categories=["+@all"],
        )

    let_in()
    url = f"redis://gateway:secret@127.0.0.1:{server.port}"
    async with a_store(url) as opened, a_load(opened) as load:
        client.acl_setuser("gateway", enabled=True, categories=["-@all"])
        await load.goes_on(30, "local")
        client.acl_deluser("gateway")
        await load.goes_on(30, "local")
        let_in()
        await load.goes_on(50, "granted")
    assert_sums(load, client)
    assert "local: not_allowed" in story.lines
    assert story.lines[-1] == "ok"


async def test_a_password_that_is_set_is_done_without(
    server: RedisServer, client: redis.Redis, story: Story
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        client.config_set("requirepass", "secret")
        client.client_kill_filter(_type="normal", skipme=True)
        await load.goes_on(30, "local")
        client.config_set("requirepass", "")
        await load.goes_on(50, "granted")
    assert_sums(load, client)
    assert "not_allowed" in opened.failures()
    assert story.lines[-1] == "ok"


async def again_and_again(do: Callable[[], object], load: Load, times: int = 20) -> None:
    for _ in range(times):
        do()
        await load.goes_on(5)


async def test_a_flushed_script_is_loaded_again(
    server: RedisServer, client: redis.Redis, story: Story
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        await again_and_again(client.script_flush, load)
    assert_sums(load, client)
    assert opened.failures() - SLOW == set()


async def test_killed_connections_are_opened_again(
    server: RedisServer, client: redis.Redis
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        await again_and_again(lambda: client.client_kill_filter(_type="normal", skipme=True), load)
        await load.goes_on(50, "granted")
    assert_sums(load, client)


async def test_a_flushed_redis_is_told_what_was_known(
    server: RedisServer, client: redis.Redis
) -> None:
    async with a_store(server.url) as opened, a_load(opened) as load:
        await again_and_again(client.flushall, load, times=5)
        await load.goes_on(50, "granted")
    assert_sums(load, client, tolerance=1)


async def test_gateways_that_share_a_killed_redis_lose_no_more_than_they_did_at_that_moment(
    server: RedisServer, client: redis.Redis
) -> None:
    """Each knows what Redis knew when it last answered; what others did since then it does not."""
    async with a_store(server.url) as one, a_store(server.url) as other:
        async with a_load(one, other) as load:
            await load.goes_on(100, "granted")
            server.kill()
            await load.goes_on(50, "local")
            server.start()
            await load.goes_on(50, "granted")
        found = units_in(client, load.rates[0])
        # at most one call of each of the eight callers, whose estimate is below 200
        assert found == pytest.approx(load.used[load.rates[0].rule], abs=8 * 200)
        assert units_in(client, load.rates[1]) == pytest.approx(
            load.used[load.rates[1].rule], abs=8
        )
        assert slots_in(client, load.slots) == 0
