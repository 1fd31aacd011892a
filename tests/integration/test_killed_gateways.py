"""A gateway's process is killed in the middle of its streams: others' limits stay exact.

Its slots are free when their lease is over; what was reserved for its streams stays spent, since
nobody knows how much of it was used.
"""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import redis

from tests.support.child import children_of, state_of
from tests.support.limit_load import a_rate, a_slots, slots_in, units_in
from tests.support.redis_servers import RedisServer, a_redis
from tests.support.running import until
from tests.support.served import SLOW, Served, served, the_rest

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

PATH = "/v1/completions"
PROMPT = [11, 12, 13, 14, 15, 16, 17]
TOKENS, REQUESTS, SLOTS = a_rate(), a_rate("requests_per_day"), a_slots(limit=4)
LOGIN = {"authorization": "Bearer sk-team"}
LEASE_S = 2
SHORT, LONG = 10, 2000


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


@asynccontextmanager
async def limited(folder: Path, server: RedisServer, *arguments: str) -> AsyncIterator[Served]:
    plan = {
        "name": "default",
        "tokens_per_day": TOKENS.limit,
        "requests_per_day": REQUESTS.limit,
        "concurrent_requests": SLOTS.limit,
        "burst": {"tokens_per_day": TOKENS.burst, "requests_per_day": REQUESTS.burst},
    }
    limits = {
        "store": "redis",
        "redis_url": {"value": server.url},
        "slot_lease_s": LEASE_S,
        "store_timeout_s": 2,
    }
    keys = [{"name": "team", "secret": {"value": "sk-team"}}]
    await anyio.Path(folder).mkdir(exist_ok=True)
    async with served(
        folder, *arguments, options=SLOW, limits=limits, plans=[plan], keys=keys
    ) as it:
        yield it


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": PROMPT} | more


@asynccontextmanager
async def a_stream(it: Served, max_tokens: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """A stream that has begun: what is still to come of it."""
    wanted = body(stream=True, max_tokens=max_tokens)
    async with (
        httpx.AsyncClient(timeout=20) as http,
        http.stream("POST", it.url + PATH, json=wanted, headers=LOGIN) as answer,
    ):
        assert answer.status_code == 200
        pieces = answer.aiter_bytes()
        await anext(pieces)
        yield pieces


async def call(it: Served) -> int:
    """The status of a short call over a connection of its own."""
    async with httpx.AsyncClient(timeout=20) as http:
        answer = await http.post(it.url + PATH, json=body(max_tokens=SHORT), headers=LOGIN)
        return answer.status_code


async def free_again(it: Served) -> None:
    """Wait until a call is let in; the only refusals are for want of a slot."""
    with anyio.fail_after(15):
        while (status := await call(it)) != 200:
            assert status == 429
            await anyio.sleep(0.1)


def assert_sums(client: redis.Redis, began_s: float, *, lost: int, answered: int) -> None:
    """`lost`: streams that were cut off; `answered`: short calls that were answered whole."""
    tokens = lost * (len(PROMPT) + LONG) + answered * (len(PROMPT) + SHORT)
    for bucket, used in ((TOKENS, tokens), (REQUESTS, lost + answered)):
        returned = (time.monotonic() - began_s) * 1e6 / bucket.interval_us
        assert used - returned - 0.3 <= units_in(client, bucket) <= used + 0.3, bucket.rule
    assert slots_in(client, SLOTS) == 0


async def test_another_gateway_is_killed(
    tmp_path: Path, server: RedisServer, client: redis.Redis
) -> None:
    began_s = time.monotonic()
    async with (
        limited(tmp_path / "dies", server) as dies,
        limited(tmp_path / "lives", server) as lives,
        AsyncExitStack() as streams,
    ):
        for _ in range(2):
            await streams.enter_async_context(a_stream(dies, LONG))
        async with a_stream(lives, SHORT) as one, a_stream(lives, SHORT) as other:
            assert await call(lives) == 429
            dies.child.signal(signal.SIGKILL)
            rests = [await the_rest(one), await the_rest(other)]
        assert [rest[-14:] for rest in rests] == [b"data: [DONE]\n\n"] * 2
        async with AsyncExitStack() as four:  # all slots are there again
            await until(lambda: slots_left(client) == SLOTS.limit, within_s=15)
            for _ in range(SLOTS.limit):
                await four.enter_async_context(a_stream(lives, LONG))
            assert await call(lives) == 429
            lives.child.signal(signal.SIGKILL)
        await until(lambda: slots_left(client) == SLOTS.limit, within_s=15)
        client.delete("sluicegate:{limits}:" + SLOTS.key)
        assert_sums(client, began_s, lost=6, answered=2)


def slots_left(client: redis.Redis) -> int:
    """Slots whose lease is over, or that nobody has, by the limits' clock."""
    key = "sluicegate:{limits}:"
    wall_us, now_us = (float(str(one)) for one in client.hmget(key + "clock", ["wall", "now"]))
    seconds, micros = client.time()
    now_us += seconds * 1e6 + micros - wall_us
    return SLOTS.limit - int(client.zcount(key + SLOTS.key, now_us, "+inf"))


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
async def test_a_sibling_worker_is_killed(
    tmp_path: Path, server: RedisServer, client: redis.Redis
) -> None:
    began_s = time.monotonic()
    async with limited(tmp_path, server, "--workers", "2") as it, AsyncExitStack() as streams:
        await until(lambda: len(workers_of(it)) == 2, within_s=20)
        dies, lives = workers_of(it)
        async with stopped(lives):
            for _ in range(2):
                await streams.enter_async_context(a_stream(it, LONG))
        async with stopped(dies):
            short = await streams.enter_async_context(a_stream(it, SHORT))
        os.kill(dies, signal.SIGKILL)
        rest = await the_rest(short)
        assert rest.endswith(b"data: [DONE]\n\n")
        await until(lambda: slots_left(client) == SLOTS.limit, within_s=15)
        await until(lambda: len(workers_of(it)) == 2, within_s=20)
        await free_again(it)
        await streams.aclose()
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
        assert_sums(client, began_s, lost=2, answered=2)


def workers_of(it: Served) -> list[int]:
    return children_of(it.child.process.pid)


@asynccontextmanager
async def stopped(worker: int) -> AsyncIterator[None]:
    """Let a worker stand still, so that the other takes every new connection."""
    os.kill(worker, signal.SIGSTOP)
    try:
        await until(lambda: state_of(worker) == "T", within_s=5)
        yield
    finally:
        os.kill(worker, signal.SIGCONT)
