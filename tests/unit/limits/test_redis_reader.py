"""More is in tests/contract/test_limit_views.py: what both stores show."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.errors import LimiterDown
from gateway.limits.bucket import Bucket, Measure, Scope
from gateway.limits.redis_reader import RedisReader
from gateway.limits.store import OpenHold
from gateway.redis_connect import connect, read_address
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
PREFIX = "p:{limits}:"
SLOTS = Bucket(Scope.KEY, "team", "concurrent_requests", Measure.CONCURRENT, 5, 0, 5)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@asynccontextmanager
async def a_reader(server: RedisServer) -> AsyncIterator[RedisReader]:
    server.client().flushall()
    client = connect(read_address(server.url))
    yield RedisReader(client, PREFIX)
    await client.aclose()


async def test_an_empty_store_shows_nothing(server: RedisServer) -> None:
    async with a_reader(server) as reader:
        assert await reader.holds(SLOTS) == []
        assert await reader.usage("2026-02-27", "2026-03-02", None) == []


async def test_leases_run_by_the_clock_of_the_limits_and_those_that_ended_are_gone(
    server: RedisServer,
) -> None:
    async with a_reader(server) as reader:
        client = server.client()
        seconds, micros = client.time()
        wall = seconds * 1_000_000 + micros
        # the limits' clock shows something else than Redis's own
        client.hset(PREFIX + "clock", mapping={"wall": wall, "now": 5_000_000})
        ends = {
            f"{PREFIX}process/ab12/7": 5_000_000 + 60_000_000,
            f"{PREFIX}process/cd34/8": 4_000_000,
        }
        client.zadd(PREFIX + SLOTS.key, ends)
        (hold,) = await reader.holds(SLOTS)
    assert (hold.process, hold.number) == ("ab12", "7")
    assert isinstance(hold, OpenHold)
    assert hold.lease_s == pytest.approx(60, abs=5)


async def test_sums_that_were_never_counted_are_nothing(server: RedisServer) -> None:
    async with a_reader(server) as reader:
        server.client().hset(PREFIX + "books/2026-02-28", "team\torg/m\trequests", 3)
        (found,) = await reader.usage("2026-02-27", "2026-03-02", "team")
    assert (found.day, found.caller, found.model) == ("2026-02-28", "team", "org/m")
    assert (found.requests, found.input_tokens, found.errors) == (3, 0, 0)


async def test_a_redis_that_stands_still_is_not_waited_for(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.limits.redis_reader._WAIT_S", 0.1)
    async with a_reader(server) as reader:
        await reader.holds(SLOTS)
        server.pause()
        try:
            with anyio.fail_after(1), pytest.raises(LimiterDown):
                await reader.holds(SLOTS)
        finally:
            server.go_on()
