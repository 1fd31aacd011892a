"""Slots through faults of Redis: whoever is still being served has one, and nobody else."""

from collections.abc import Iterator

import anyio
import pytest
import redis

from gateway.limits.store import Refusal, StoreState
from tests.support.limit_load import PREFIX, a_slots, a_store, slots_in, taken
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
SLOTS = a_slots(limit=2)
CLAIM = ((SLOTS, 1.0),)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as one:
        yield one


async def test_slots_given_while_redis_was_away_are_taken_in_it_when_it_is_back(
    server: RedisServer, client: redis.Redis
) -> None:
    async with a_store(server.url) as opened:
        server.kill()
        await opened.store.lacks((SLOTS,))
        await opened.is_in(StoreState.LOCAL)
        holds = [await taken(opened, CLAIM) for _ in range(2)]
        server.start()
        await opened.is_in(StoreState.OK)
        # the first that is asked of it comes together with what it is told
        assert isinstance(await opened.store.take(CLAIM), Refusal)
        assert slots_in(client, SLOTS) == 2
        for hold in holds:
            opened.store.settle(hold, [1.0])
        await opened.is_done()
        assert slots_in(client, SLOTS) == 0


async def test_slots_are_held_through_a_pause_longer_than_their_lease(
    server: RedisServer, client: redis.Redis
) -> None:
    async with a_store(server.url, slot_lease_s=1) as opened:
        holds = [await taken(opened, CLAIM) for _ in range(2)]
        server.pause()
        await opened.store.lacks((SLOTS,))
        await anyio.sleep(1.2)
        server.go_on()
        await opened.is_in(StoreState.OK)
        assert isinstance(await opened.store.take(CLAIM), Refusal)
        for hold in holds:
            opened.store.settle(hold, [1.0])
        await opened.is_done()
        assert slots_in(client, SLOTS) == 0


async def test_a_slot_whose_lease_was_over_is_not_given_back_for_another(
    server: RedisServer, client: redis.Redis
) -> None:
    """It was no longer counted, so giving it back made room for one too many at that moment."""
    async with a_store(server.url) as opened:
        late, _ = await taken(opened, CLAIM), await taken(opened, CLAIM)
        key = PREFIX + SLOTS.key
        members = [str(member) for member in client.zrange(key, 0, -1)]
        client.zadd(key, {next(one for one in members if one.endswith(f"/{late.id}")): 0})
        verdicts = []

        async def take() -> None:
            verdicts.append(await opened.store.take(CLAIM))

        async def settle() -> None:
            opened.store.settle(late, [1.0])

        async with anyio.create_task_group() as tasks:  # all in one batch
            for one in (take, take, settle):
                tasks.start_soon(one)
        assert sorted(type(verdict).__name__ for verdict in verdicts) == ["Hold", "Refusal"]


@pytest.mark.parametrize("renewed", [False, True])
async def test_slots_that_an_older_memory_still_holds_are_free(*, renewed: bool) -> None:
    """They were given back since; nobody would have freed them before their lease was over."""
    with a_redis("--save", "3600 1") as server, server.client() as client:
        async with a_store(server.url, slot_lease_s=30) as opened:
            holds = [await taken(opened, CLAIM) for _ in range(2)]
            client.save()
            for hold in holds:
                opened.store.settle(hold, [1.0])
            await opened.is_done()
            if renewed:
                opened.store._begin_renewal(opened.store._clock.now_s())
            server.kill()
            server.start()
            await opened.store.lacks((SLOTS,))
            await opened.is_done()
            assert slots_in(client, SLOTS) == 0
