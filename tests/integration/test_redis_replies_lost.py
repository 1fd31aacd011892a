"""Batches reach Redis and their replies are lost, or come late: all is done once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis

from gateway.limits.store import StoreState, Usage
from tests.support.limit_load import (
    PREFIX,
    Opened,
    a_load,
    a_rate,
    a_slots,
    a_store,
    assert_sums,
    slots_in,
    taken,
    units_in,
)
from tests.support.lossy_proxy import LossyProxy, Replies, a_lossy_proxy
from tests.support.redis_servers import RedisServer, a_redis
from tests.support.running import until

pytestmark = pytest.mark.redis
TOKENS = a_rate()
CLAIM = ((TOKENS, 100.0), (a_slots(), 1.0))
BOOKS = PREFIX + "books/2026-11-25"
USED = Usage("2026-11-25", "team", "m", 3, 4)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


@asynccontextmanager
async def behind_a_proxy(server: RedisServer) -> AsyncIterator[tuple[Opened, LossyProxy]]:
    async with (
        a_lossy_proxy(server.port) as proxy,
        a_store(f"redis://127.0.0.1:{proxy.port}") as opened,
    ):
        await opened.is_done()
        yield opened, proxy


def loses(proxy: LossyProxy, replies: Replies) -> None:
    proxy.replies, proxy.lost = replies, 0


LOSSES = pytest.mark.parametrize("replies", [Replies.CUT, Replies.SWALLOW])


@LOSSES
async def test_a_take_whose_answer_was_lost_is_taken_back(
    server: RedisServer, client: redis.Redis, replies: Replies
) -> None:
    async with behind_a_proxy(server) as (opened, proxy):
        loses(proxy, replies)
        hold = await taken(opened, CLAIM)
        assert hold.is_local
        assert units_in(client, TOKENS) == pytest.approx(100, abs=0.3)  # it was granted
        loses(proxy, Replies.PASS)
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(100, abs=0.3)  # it counts once
        assert slots_in(client, a_slots()) == 1
        opened.store.settle(hold, [60.0, 1.0])
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(60, abs=0.3)
        assert slots_in(client, a_slots()) == 0


@LOSSES
async def test_a_settlement_whose_answer_was_lost_counts_once(
    server: RedisServer, client: redis.Redis, replies: Replies
) -> None:
    async with behind_a_proxy(server) as (opened, proxy):
        hold = await taken(opened, CLAIM)
        loses(proxy, replies)
        opened.store.settle(hold, [60.0, 1.0])
        opened.store.record(USED)
        await until(lambda: proxy.lost > 0, within_s=5)
        assert units_in(client, TOKENS) == pytest.approx(60, abs=0.3)  # it was done
        await opened.is_in(StoreState.LOCAL)
        loses(proxy, Replies.PASS)
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(60, abs=0.3)
        assert slots_in(client, a_slots()) == 0
        assert client.hget(BOOKS, "team\tm\toutput_tokens") == "4"


@LOSSES
async def test_what_was_spent_without_redis_is_told_once_though_the_answer_was_lost(
    server: RedisServer, client: redis.Redis, replies: Replies
) -> None:
    async with behind_a_proxy(server) as (opened, proxy):
        server.pause()
        hold = await taken(opened, CLAIM)
        assert hold.is_local
        opened.store.record(USED)
        loses(proxy, replies)
        server.go_on()
        await until(
            lambda: client.hget(BOOKS, "team\tm\toutput_tokens") == "4" or proxy.lost > 2, 8
        )
        loses(proxy, Replies.PASS)
        await opened.is_done()
        opened.store.settle(hold, [60.0, 1.0])
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(60, abs=0.3)
        assert slots_in(client, a_slots()) == 0
        assert client.hget(BOOKS, "team\tm\toutput_tokens") == "4"


async def test_a_batch_that_arrives_after_it_was_given_up_is_refused(
    server: RedisServer, client: redis.Redis
) -> None:
    """It stands in the proxy until others, which came later, have been answered."""
    async with behind_a_proxy(server) as (opened, proxy):
        late = proxy.hold_requests()
        hold = await taken(opened, CLAIM)
        assert hold.is_local
        proxy.pass_new_requests()
        opened.store.settle(hold, [60.0, 1.0])
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(60, abs=0.3)
        late.set()
        await until(lambda: "errorstat_STALE" in client.info("errorstats"), within_s=5)
        assert units_in(client, TOKENS) == pytest.approx(60, abs=0.3)
        assert slots_in(client, a_slots()) == 0


@LOSSES
async def test_sums_are_exact_where_replies_are_lost_again_and_again(
    server: RedisServer, client: redis.Redis, replies: Replies
) -> None:
    async with behind_a_proxy(server) as (opened, proxy), a_load(opened) as load:
        for _ in range(5):
            loses(proxy, replies)
            await until(lambda: proxy.lost > 0, within_s=5)
            loses(proxy, Replies.PASS)
            await load.goes_on(10, "granted")
    assert_sums(load, client)
    assert load.verdicts["local"] > 0


async def test_sums_are_exact_where_connections_are_cut_again_and_again(
    server: RedisServer, client: redis.Redis
) -> None:
    async with behind_a_proxy(server) as (opened, proxy), a_load(opened) as load:
        for _ in range(10):
            await proxy.cut()
            await load.goes_on(5, "granted")
    assert_sums(load, client)
    assert proxy.connections > 5
