"""Against a real Redis: what a store does is what its script does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.auth.issued_store import Change, IssuedStore, Lost, Raced
from gateway.errors import KeysUnavailable
from tests.support.issuers import a_store
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with a_redis() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.client().flushall()
    return shared


@asynccontextmanager
async def opened(server: RedisServer) -> AsyncIterator[IssuedStore]:
    store = a_store(server)
    try:
        yield store
    finally:
        with anyio.move_on_after(2, shield=True):
            await store.close()


def a_change(
    name: str = "a", before: str | None = None, after: str | None = "{}", action: str = "create"
) -> Change:
    return Change(action, name, before, after, "req_1", {"plan": "p"})


async def test_an_empty_store_has_no_version(server: RedisServer) -> None:
    async with opened(server) as store:
        look = await store.look(None)
        assert look is not None
        assert (look.version, look.records) == (0, {})
        assert await store.look(0) is None
        assert await store.record("a") is None
        assert await store.audited(10) == []


async def test_a_change_is_seen_once(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.change(a_change(after='{"x": "ä"}'), 0)
        look = await store.look(0)
        assert look is not None
        assert (look.version, look.records) == (1, {"a": '{"x": "ä"}'})
        assert await store.look(1) is None
        assert await store.record("a") == '{"x": "ä"}'


async def test_a_record_that_goes_takes_the_version_up_too(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.change(a_change(), None)
        await store.change(a_change(before="{}", after=None, action="delete"), 1)
        look = await store.look(1)
        assert look is not None
        assert (look.version, look.records) == (2, {})


@pytest.mark.parametrize("before", [None, "{ }"])
async def test_who_was_slower_changes_nothing(server: RedisServer, before: str | None) -> None:
    async with opened(server) as store:
        await store.change(a_change(), 0)
        with pytest.raises(Raced):
            await store.change(a_change(before=before, after="new"), 1)
        assert await store.record("a") == "{}"
        assert await store.look(1) is None
        assert len(await store.audited(10)) == 1


async def test_of_many_at_once_one_wins(server: RedisServer) -> None:
    outcomes: list[str] = []

    async def make(store: IssuedStore, number: int) -> None:
        try:
            await store.change(a_change(after=str(number)), 0)
            outcomes.append("made")
        except Raced:
            outcomes.append("raced")

    async with opened(server) as store, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(make, store, number)
    assert sorted(outcomes) == ["made"] + ["raced"] * 19


async def test_the_audit_log_tells_the_newest_first(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.change(a_change(), 0)
        await store.change(a_change(before="{}", after=None, action="delete"), 1)
        last, first = await store.audited(10)
        assert [last.action, first.action] == ["delete", "create"]
        assert (first.key, first.request_id, first.detail) == ("a", "req_1", {"plan": "p"})
        assert 1_700_000_000 < first.time_unix_s <= last.time_unix_s
        assert [one.action for one in await store.audited(1)] == ["delete"]


async def test_a_store_without_memory_is_told_once(server: RedisServer) -> None:
    async with opened(server) as store:
        with pytest.raises(Lost):
            await store.look(5)
        with pytest.raises(Lost):
            await store.change(a_change(), 5)
        assert await store.restore(5, {"a": "1", "b": "2"})
        assert not await store.restore(6, {"a": "other", "c": "3"})
        look = await store.look(5)
        assert look is not None
        assert look.version > 6
        assert look.records == {"a": "1", "b": "2"}
        assert [one.action for one in await store.audited(10)] == ["restore"]


async def test_a_key_of_another_kind_fails_before_anything_is_written(server: RedisServer) -> None:
    server.client().set("sluicegate:{keys}:audit", "mine")
    async with opened(server) as store:
        with pytest.raises(KeysUnavailable):
            await store.change(a_change(), 0)
        assert await store.record("a") is None
        assert await store.look(0) is None


async def test_a_redis_that_stands_still_is_not_waited_for(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.issued_store._LOOK_S", 0.1)
    async with opened(server) as store:
        await store.look(None)
        server.pause()
        try:
            with anyio.fail_after(1.0), pytest.raises(KeysUnavailable) as told:
                await store.look(None)
        finally:
            server.go_on()
        assert str(server.port) not in told.value.public
        assert await store.look(0) is None


async def test_without_redis_everything_says_so() -> None:
    with a_redis() as gone:
        gone.kill()
        async with opened(gone) as store:
            for asked in (store.look(None), store.record("a"), store.audited(1)):
                with pytest.raises(KeysUnavailable):
                    await asked


async def test_each_prefix_has_its_own_keys(server: RedisServer) -> None:
    async with opened(server) as store:
        await store.change(a_change(), 0)
    other = a_store(server, "other")
    assert await other.record("a") is None
    await other.close()
