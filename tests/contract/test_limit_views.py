"""What every limit store shows of itself: who has slots, and the books."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.clock import SystemClock
from gateway.config.access import Limits
from gateway.errors import LimiterDown
from gateway.limits.bucket import Bucket, Measure, Scope
from gateway.limits.store import Hold, LimitStore, Usage
from gateway.limits.stores import open_store
from gateway.telemetry.metrics import Metrics
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
SLOTS = Bucket(Scope.KEY, "a*b/c", "concurrent_requests", Measure.CONCURRENT, 5, 0, 5)
OTHERS = Bucket(Scope.KEY, "b", "concurrent_requests", Measure.CONCURRENT, 5, 0, 5)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[LimitStore]:
    async with serving(request.param, server) as store:
        yield store


@asynccontextmanager
async def serving(name: str, server: RedisServer) -> AsyncIterator[LimitStore]:
    """A store on an empty Redis, with its task."""
    server.client().flushall()
    limits = Limits.model_validate({"store": name, "redis_url": {"value": server.url}})
    store = open_store(limits, {}, Metrics(), SystemClock(), random.Random(1), workers=1)
    async with store, anyio.create_task_group() as group:
        group.start_soon(store.run)
        yield store
        group.cancel_scope.cancel()


async def recorded(store: LimitStore, *usages: Usage) -> None:
    for usage in usages:
        store.record(usage)
    with anyio.fail_after(5):
        while len(await store.usage("2020-01-01", "2020-01-31", None)) < 1:  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def test_slots_that_nobody_has_are_not_shown(store: LimitStore) -> None:
    assert list(await store.holds(SLOTS)) == []


async def test_every_slot_in_use_is_shown_until_it_is_free(store: LimitStore) -> None:
    holds = [await store.take(((SLOTS, 1.0),)) for _ in range(3)]
    await store.take(((OTHERS, 1.0),))
    assert len(await store.holds(SLOTS)) == 3
    for hold in holds:
        assert isinstance(hold, Hold)
        store.settle(hold, [1.0])
    with anyio.fail_after(5):
        while await store.holds(SLOTS):  # noqa: ASYNC110  # settled soon
            await anyio.sleep(0.01)


async def test_the_books_are_sums_by_day_key_and_model(store: LimitStore) -> None:
    entry = Usage("2020-01-02", "a*b/c", "org/m:fp8", 10, 5, 2, 1, 0)
    await recorded(store, entry, entry, Usage("2020-01-01", "b", "m", 1, 0, 0, 1, 1))
    assert await store.usage("2020-01-01", "2020-01-02", None) == [
        Usage("2020-01-01", "b", "m", 1, 0, 0, 1, 1),
        Usage("2020-01-02", "a*b/c", "org/m:fp8", 20, 10, 4, 2, 0),
    ]
    assert await store.usage("2020-01-02", "2020-01-02", "b") == []
    (found,) = await store.usage("2020-01-01", "2020-01-02", "a*b/c")
    assert found.requests == 2


async def test_large_books_come_whole(store: LimitStore) -> None:
    usages = [Usage("2020-01-03", f"key-{number}", "m", 1, 1, 1) for number in range(700)]
    await recorded(store, *usages)
    assert len(await store.usage("2020-01-03", "2020-01-03", None)) == 700


async def test_in_redis_a_slot_has_a_process_and_a_lease(server: RedisServer) -> None:
    async with serving("redis", server) as store:
        await store.take(((SLOTS, 1.0),))
        await store.take(((SLOTS, 1.0),))
        first, second = await store.holds(SLOTS)
    assert first.process == second.process != ""
    assert first.number != second.number
    for hold in (first, second):
        assert hold.lease_s is not None
        assert 0 < hold.lease_s <= 15


async def test_without_redis_slots_are_this_process_own_and_the_books_are_away() -> None:
    with a_redis() as server:
        async with serving("redis", server) as store:
            await store.take(((SLOTS, 1.0),))
            server.kill()
            (hold,) = await store.holds(SLOTS)
            assert hold.lease_s is None
            with pytest.raises(LimiterDown) as told:
                await store.usage("2020-01-01", "2020-01-01", None)
            assert str(server.port) not in told.value.public
            await store.take(((SLOTS, 1.0),))
            assert len(await store.holds(SLOTS)) == 2
            server.start()
