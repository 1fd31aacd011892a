"""What nobody should do to our keys, and answers that come late or never: nothing else breaks."""

from collections.abc import Iterator, Sequence

import anyio
import pytest
import redis
from redis.asyncio import Redis

from gateway.clock import SystemClock
from gateway.limits.redis_link import SCRIPT, RedisLink
from gateway.limits.store import StoreState, Usage
from gateway.redis_connect import evaluate
from tests.support.limit_load import (
    PREFIX,
    a_rate,
    a_slots,
    a_store,
    slots_in,
    taken,
    units_in,
)
from tests.support.lossy_proxy import a_lossy_proxy
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
TOKENS = a_rate()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


def spoil(client: redis.Redis, key: str) -> None:
    """Put something there that is not ours."""
    client.delete(PREFIX + key)
    client.lpush(PREFIX + key, "something else")


@pytest.mark.parametrize("key", [TOKENS.key, a_slots().key, "books/2026-11-25"])
async def test_a_key_of_a_wrong_type_is_taken_over(
    server: RedisServer, client: redis.Redis, key: str
) -> None:
    """One such key of one caller kept everybody away from Redis."""
    async with a_store(server.url) as opened:
        spoil(client, key)
        hold = await taken(opened, ((TOKENS, 100.0), (a_slots(), 1.0)))
        opened.store.record(Usage("2026-11-25", "team", "m", 3, 4))
        await opened.is_done()
        assert slots_in(client, a_slots()) == 1
        opened.store.settle(hold, [40.0, 1.0])
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(40, abs=0.3)
        assert client.hget(PREFIX + "books/2026-11-25", "team\tm\toutput_tokens") == "4"
        assert opened.store.state is StoreState.OK
        assert opened.failures() == set()


@pytest.mark.parametrize("key", ["clock", "process"])
@pytest.mark.parametrize("how", ["spoilt", "gone"])
async def test_a_lost_key_of_our_own_is_made_anew(
    server: RedisServer, client: redis.Redis, key: str, how: str
) -> None:
    """As when Redis evicts keys: holds that are open are settled all the same."""
    async with a_store(server.url) as opened:
        hold = await taken(opened, ((TOKENS, 100.0), (a_slots(), 1.0)))
        name = key if key == "clock" else opened.store._link.process
        if how == "spoilt":
            spoil(client, name)
        else:
            client.delete(PREFIX + name)
        opened.store.settle(hold, [40.0, 1.0])
        await opened.is_done()
        assert units_in(client, TOKENS) == pytest.approx(40, abs=0.3)
        assert slots_in(client, a_slots()) == 0
        assert opened.store.state is StoreState.OK
        assert opened.failures() == set()


async def test_a_bucket_refills_where_every_answer_is_slow(server: RedisServer) -> None:
    """A process that had never been answered promptly stopped the limits' clock."""
    tokens = a_rate("tokens_per_minute", limit=600, burst=10)
    async with Redis(port=server.port) as redis_:

        async def answer_slowly(keys: Sequence[str], arguments: Sequence[bytes]) -> bytes:
            answer = await evaluate(redis_, SCRIPT, "", keys, arguments)
            await anyio.sleep(0.26)
            return answer

        link = RedisLink(answer_slowly, SystemClock(), prefix=PREFIX, lease_s=15)

        async def look() -> float:
            batch = link.batch()
            batch.look((tokens,))
            results = (await link.send(batch, 5)).results
            assert results
            assert isinstance(results[0], list)
            return results[0][0]

        batch = link.batch()
        batch.take("1", ((tokens, 10.0),))
        await link.send(batch, 5)
        assert await look() > await look()


async def test_an_unexpected_error_is_told_once_in_a_while(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_store(server.url) as opened:

        async def fail(*_: object) -> bytes:
            raise LookupError("no such thing")

        evaluate = opened.store._link._evaluate
        opened.store._link._evaluate = fail
        hold = await taken(opened, ((TOKENS, 10.0),))
        assert hold.is_local
        await anyio.sleep(0.5)
        assert 1 <= len([one for one in caplog.records if one.message == "bug"]) < 20
        opened.store._link._evaluate = evaluate
        await opened.is_done()


async def test_who_waits_does_not_wait_until_all_is_told(
    server: RedisServer, client: redis.Redis
) -> None:
    """Redis has forgotten, and takes its time: three round trips went by before an answer."""
    async with (
        a_lossy_proxy(server.port) as proxy,
        a_store(f"redis://127.0.0.1:{proxy.port}", store_timeout_s=0.9) as opened,
    ):
        await taken(opened, ((TOKENS, 10.0),))
        client.flushall()
        proxy.delay_s = 0.6  # one round trip is in time
        began_s = anyio.current_time()
        await taken(opened, ((TOKENS, 10.0),))
        assert anyio.current_time() - began_s < 1.4
        proxy.delay_s = 0
        await opened.is_done()
