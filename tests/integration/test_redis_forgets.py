"""Redis loses its memory, all of it or the last of it: every gateway tells it what it knows."""

from collections.abc import Iterator

import pytest
import redis

from gateway.limits.store import Hold, StoreState
from tests.support.limit_load import (
    Opened,
    a_rate,
    a_slots,
    a_store,
    slots_in,
    taken,
    units_in,
)
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
TOKENS = a_rate()
CLAIM = ((TOKENS, 100.0),)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


async def called(opened: Opened, used: float) -> None:
    """A call that held 100 tokens and used so many."""
    opened.store.settle(await taken(opened, CLAIM), [used])
    await opened.is_done()


async def looked(opened: Opened) -> None:
    """Ask for something else, which shows that Redis has forgotten."""
    await opened.store.lacks((a_rate(owner="somebody"),))


@pytest.mark.parametrize("used", [0, 40, 100, 700])
async def test_what_was_used_is_told_and_not_what_was_held(
    server: RedisServer, client: redis.Redis, used: int
) -> None:
    async with a_store(server.url) as opened:
        await called(opened, 100)
        await called(opened, used)
        client.flushall()
        await looked(opened)
        assert units_in(client, TOKENS) == pytest.approx(100 + used, abs=0.3)


async def test_what_is_held_is_told_and_settled_once(
    server: RedisServer, client: redis.Redis
) -> None:
    async with a_store(server.url) as opened:
        await called(opened, 100)
        hold = await taken(opened, ((TOKENS, 100.0), (a_slots(), 1.0)))
        client.flushall()
        await looked(opened)
        assert units_in(client, TOKENS) == pytest.approx(200, abs=0.3)
        assert slots_in(client, a_slots()) == 1
        opened.store.settle(hold, [30.0, 1.0])
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(130, abs=0.3)
        assert slots_in(client, a_slots()) == 0


async def test_what_was_settled_and_not_told_yet_is_settled_once(
    server: RedisServer, client: redis.Redis
) -> None:
    """What is told must still hold what is to be given back."""
    async with a_store(server.url) as opened:
        await called(opened, 100)
        opened.store.settle(await taken(opened, CLAIM), [40.0])
        client.flushall()
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(140, abs=0.3)


async def test_what_was_used_without_redis_is_told_again_when_it_forgets_that_too(
    server: RedisServer, client: redis.Redis
) -> None:
    async with a_store(server.url) as opened:
        await called(opened, 100)
        server.kill()
        await opened.store.lacks((TOKENS,))
        await opened.is_in(StoreState.LOCAL)
        opened.store.settle(await taken(opened, CLAIM), [60.0])
        server.start()
        await opened.is_done()
        client.flushall()
        await looked(opened)
        assert units_in(client, TOKENS) == pytest.approx(160, abs=0.3)


async def test_an_older_memory_is_told_what_is_newer() -> None:
    """Redis that saves to disk comes back with what it knew then, under its old name."""
    with a_redis("--save", "3600 1") as server, server.client() as client:
        async with a_store(server.url) as opened:
            await called(opened, 100)
            client.save()
            await called(opened, 70)
            server.kill()
            server.start()
            await opened.store.lacks((TOKENS,))
            await opened.is_done()
            assert units_in(client, TOKENS) == pytest.approx(170, abs=0.3)


async def test_whoever_knows_most_of_a_bucket_is_believed(
    server: RedisServer, client: redis.Redis
) -> None:
    async with a_store(server.url) as one, a_store(server.url) as other:
        await called(one, 100)
        await called(other, 50)
        client.flushall()
        await looked(one)
        await looked(other)
        assert units_in(client, TOKENS) == pytest.approx(150, abs=0.3)


async def test_ten_thousand_buckets_are_told(server: RedisServer, client: redis.Redis) -> None:
    buckets = [a_rate(owner=f"team-{number}") for number in range(10_000)]
    async with a_store(server.url, store_timeout_s=2) as opened:
        for begin in range(0, len(buckets), 1000):
            claim = tuple((bucket, 10.0) for bucket in buckets[begin : begin + 1000])
            assert isinstance(await opened.store.take(claim), Hold)
        client.flushall()
        await looked(opened)
        assert opened.store.state is StoreState.OK
        assert units_in(client, buckets[0]) == pytest.approx(10, abs=0.3)
        assert units_in(client, buckets[-1]) == pytest.approx(10, abs=0.3)


async def test_ten_thousand_buckets_used_without_redis_are_told(
    server: RedisServer, client: redis.Redis
) -> None:
    buckets = [a_rate(owner=f"team-{number}") for number in range(10_000)]
    async with a_store(server.url) as opened:
        server.kill()
        await opened.store.lacks((TOKENS,))
        await opened.is_in(StoreState.LOCAL)
        for bucket in buckets:
            assert isinstance(await opened.store.take(((bucket, 10.0),)), Hold)
        server.start()
        await opened.is_done()
        assert units_in(client, buckets[0]) == pytest.approx(10, abs=0.3)
        assert units_in(client, buckets[-1]) == pytest.approx(10, abs=0.3)
