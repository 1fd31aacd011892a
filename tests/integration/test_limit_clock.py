"""The clock of the server steps by an hour: nobody gets a free burst, nobody is locked out.

The script is the real one but for the function that asks what time it is: that reads a key, which
the test sets (under a faked clock redis-server does not start).
"""

import re
from collections.abc import Iterator

import anyio
import pytest
import redis

from gateway.limits import stores
from gateway.limits.redis_link import SCRIPT
from gateway.limits.store import Hold, Refusal, StoreState
from tests.support.limit_load import PREFIX, Opened, a_rate, a_slots, a_store, slots_in, taken
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
HOUR_US = 3_600_000_000
STEP = PREFIX + "step"
READS_A_KEY = f"""local function wall_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2] + tonumber(redis.call('GET', '{STEP}') or 0)
end
"""
STEPS = pytest.mark.parametrize("step_us", [HOUR_US, -HOUR_US], ids=["forward", "back"])
# a hundred come back in a minute: in a test's time some, in an hour all
REQUESTS = a_rate("requests_per_hour", limit=600, burst=100)
CLAIM = ((REQUESTS, 1.0), (a_slots(limit=2), 1.0))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    script, count = re.subn(
        r"local function wall_us\(\).*?\nend\n", READS_A_KEY, SCRIPT, flags=re.DOTALL
    )
    assert count == 1
    monkeypatch.setattr(stores, "SCRIPT", script)
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


async def lack_units(opened: Opened) -> float:
    (lack_us,) = await opened.store.lacks((REQUESTS,))
    return lack_us / REQUESTS.interval_us


async def spent(opened: Opened, units: float) -> None:
    claim = ((REQUESTS, units),)
    opened.store.settle(await taken(opened, claim), [units])
    await opened.is_done()


@STEPS
async def test_a_bucket_is_as_full_as_before(
    server: RedisServer, client: redis.Redis, step_us: int
) -> None:
    async with a_store(server.url, store_timeout_s=5) as opened:
        await spent(opened, 100)
        client.set(STEP, step_us)
        assert await lack_units(opened) == pytest.approx(100, abs=1)
        verdict = await opened.store.take(((REQUESTS, 5.0),))
        assert isinstance(verdict, Refusal)
        assert verdict.wait_us <= 5 * REQUESTS.interval_us  # and not an hour
        client.set(STEP, 0)
        assert await lack_units(opened) == pytest.approx(100, abs=1)


@STEPS
async def test_a_bucket_goes_on_to_fill(
    server: RedisServer, client: redis.Redis, step_us: int
) -> None:
    quick = a_rate("requests_per_minute", limit=6000, burst=1000)  # a hundred in a second
    async with a_store(server.url, store_timeout_s=5) as opened:
        await taken(opened, ((quick, 1000.0),))
        client.set(STEP, step_us)
        (before,) = await opened.store.lacks((quick,))
        began_s = anyio.current_time()
        await anyio.sleep(0.5)
        (after,) = await opened.store.lacks((quick,))
        passed_us = (anyio.current_time() - began_s) * 1e6
        assert before - after == pytest.approx(passed_us, abs=200_000)


@STEPS
async def test_slots_are_neither_lost_nor_kept(
    server: RedisServer, client: redis.Redis, step_us: int
) -> None:
    slots = a_slots(limit=2)
    async with a_store(server.url, slot_lease_s=2, store_timeout_s=5) as opened:
        holds = [await taken(opened, CLAIM) for _ in range(2)]
        client.set(STEP, step_us)
        assert isinstance(await opened.store.take(CLAIM), Refusal)
        for hold in holds:
            opened.store.settle(hold, [1.0, 1.0])
        await opened.is_done()
        assert slots_in(client, slots) == 0
        assert isinstance(await opened.store.take(CLAIM), Hold)


@STEPS
async def test_other_processes_go_by_the_same_time(
    server: RedisServer, client: redis.Redis, step_us: int
) -> None:
    async with (
        a_store(server.url, store_timeout_s=5) as one,
        a_store(server.url, store_timeout_s=5) as other,
    ):
        await spent(one, 100)
        client.set(STEP, step_us)
        assert await lack_units(other) == pytest.approx(100, abs=1)
        async with a_store(server.url, store_timeout_s=5) as late:  # which has never known it
            assert await lack_units(late) == pytest.approx(100, abs=1)
            assert await lack_units(one) == pytest.approx(100, abs=1)
        assert one.store.state is other.store.state is StoreState.OK


@STEPS
async def test_leases_of_a_process_that_died_end_in_their_time(
    server: RedisServer, client: redis.Redis, step_us: int
) -> None:
    slots = ((a_slots(limit=1), 1.0),)
    async with a_store(server.url, store_timeout_s=5) as other:
        async with a_store(server.url, slot_lease_s=1, store_timeout_s=5) as dead:
            await taken(dead, slots)
        assert isinstance(await other.store.take(slots), Refusal)
        client.set(STEP, step_us)
        with anyio.fail_after(10):
            while not isinstance(await other.store.take(slots), Hold):  # noqa: ASYNC110  # polled
                await anyio.sleep(0.05)
