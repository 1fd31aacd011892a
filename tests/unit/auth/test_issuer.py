"""Issuers on a real Redis: what one makes, the others follow."""

import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from gateway.auth.issued_store import Change, IssuedStore, Raced
from gateway.auth.issuer import Issuer, open_issuer
from gateway.config.access import Limits, Rates
from gateway.errors import (
    ConfigInvalid,
    InvalidRequest,
    KeyConflict,
    KeyNotFound,
    KeysUnavailable,
    PlanNotFound,
    Unauthenticated,
)
from tests.support.fake_clock import FakeClock
from tests.support.issuers import AProcess, a_process, an_access
from tests.support.redis_servers import RedisServer, a_redis
from tests.support.running import until

pytestmark = pytest.mark.redis
NO_LIMITS = Rates()


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with a_redis() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.client().flushall()
    return shared


def events(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.getMessage() == event]


def is_refused(process: AProcess, secret: str) -> bool:
    try:
        process.caller(secret)
    except Unauthenticated:
        return True
    return False


# --- changes


async def test_a_key_that_is_made_may_call_at_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    here = a_process(server)
    with caplog.at_level(logging.INFO):
        async with here.issuer:
            made, secret = await here.issuer.create("team", "default", NO_LIMITS, "req_1")
            assert here.caller(secret).name == "team"
            found = await here.issuer.key("team")
            assert found is not None
            assert found.key == made.key
            (entry,) = await here.issuer.audited(10)
    assert made.key.created_unix_s == here.clock.unix_s()
    (told,) = events(caplog, "audit")
    assert (told["action"], told["key"], told["request_id"]) == ("create", "team", "req_1")
    assert (entry.action, entry.key, entry.request_id) == ("create", "team", "req_1")
    assert entry.detail == {"plan": "default", "limits": {}}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("filed", 'the configuration file has a key "filed"'),
        ("team", 'there is a key "team" already'),
        ("anonymous", '"anonymous" is whoever calls without a key'),
    ],
)
async def test_a_name_is_taken_once(server: RedisServer, name: str, message: str) -> None:
    here = a_process(server, an_access(file_keys=("filed",)))
    async with here.issuer:
        await here.issuer.create("team", "default", NO_LIMITS, "r")
        with pytest.raises(KeyConflict) as told:
            await here.issuer.create(name, "default", NO_LIMITS, "r")
    assert told.value.public == message
    assert told.value.param == "name"


@pytest.mark.parametrize(
    ("plan", "limits", "param"),
    [
        ("none", {}, "plan"),
        (
            "default",
            {"burst": {"tokens_per_minute": 5}},
            "limits.burst.tokens_per_minute",
        ),
    ],
)
async def test_what_cannot_hold_is_not_made(
    server: RedisServer, plan: str, limits: dict[str, Any], param: str
) -> None:
    here = a_process(server)
    async with here.issuer:
        with pytest.raises(InvalidRequest) as told:
            await here.issuer.create("team", plan, Rates.model_validate(limits), "r")
        assert await here.issuer.keys() == []
    assert told.value.param == param


async def test_a_rotation_leaves_both_secrets_good_for_the_grace(server: RedisServer) -> None:
    here = a_process(server)
    async with here.issuer:
        _, old = await here.issuer.create("team", "default", NO_LIMITS, "r")
        _, new = await here.issuer.rotate("team", 60, "r")
        assert here.caller(old).name == here.caller(new).name == "team"
        here.clock.pass_s(60)
        assert is_refused(here, old)
        assert here.caller(new).name == "team"
        (entry, _) = await here.issuer.audited(10)
    assert (entry.action, entry.detail) == ("rotate", {"grace_s": 60})


async def test_a_disabled_key_says_so_until_it_is_enabled(server: RedisServer) -> None:
    here = a_process(server)
    async with here.issuer:
        _, secret = await here.issuer.create("team", "default", NO_LIMITS, "r")
        assert (await here.issuer.switch("team", "r", is_disabled=True)).state == "disabled"
        with pytest.raises(Unauthenticated, match="disabled"):
            here.caller(secret)
        assert (await here.issuer.switch("team", "r", is_disabled=True)).state == "disabled"
        assert (await here.issuer.switch("team", "r", is_disabled=False)).state == "active"
        assert here.caller(secret).name == "team"
        actions = [entry.action for entry in await here.issuer.audited(10)]
    assert actions == ["enable", "disable", "create"], "nothing was changed the second time"


async def test_a_deleted_key_is_gone_and_its_name_is_free(server: RedisServer) -> None:
    here = a_process(server)
    async with here.issuer:
        _, secret = await here.issuer.create("team", "default", NO_LIMITS, "r")
        assert (await here.issuer.delete("team", "r")).key.name == "team"
        assert is_refused(here, secret)
        assert await here.issuer.key("team") is None
        await here.issuer.create("team", "default", NO_LIMITS, "r")
        assert is_refused(here, secret)


async def test_what_is_not_there_cannot_be_changed(server: RedisServer) -> None:
    here = a_process(server, an_access(file_keys=("filed",)))
    async with here.issuer as issuer:
        for name, kind in (("none", KeyNotFound), ("filed", KeyConflict)):
            with pytest.raises(kind):
                await issuer.rotate(name, 0, "r")
            with pytest.raises(kind):
                await issuer.switch(name, "r", is_disabled=True)
            with pytest.raises(kind):
                await issuer.delete(name, "r")
        assert await issuer.audited(10) == []


async def test_changes_at_the_same_time_all_happen(server: RedisServer) -> None:
    here, there = a_process(server), a_process(server)
    async with here.issuer, there.issuer:
        await here.issuer.create("team", "default", NO_LIMITS, "r")
        secrets: list[str] = []

        async def rotate(issuer: Issuer) -> None:
            secrets.append((await issuer.rotate("team", 60, "r"))[1])

        async with anyio.create_task_group() as group:
            group.start_soon(rotate, here.issuer)
            group.start_soon(rotate, there.issuer)
        await here.issuer.keys()
        assert [here.caller(secret).name for secret in secrets] == ["team", "team"]


async def test_who_is_always_too_slow_is_told(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_slow(store: IssuedStore, change: Change, known: int | None) -> None:
        raise Raced

    here = a_process(server)
    async with here.issuer:
        monkeypatch.setattr(IssuedStore, "change", too_slow)
        with pytest.raises(KeyConflict, match="try again"):
            await here.issuer.create("team", "default", NO_LIMITS, "r")


# --- following


async def test_what_one_process_makes_the_other_knows_soon(server: RedisServer) -> None:
    here, there = a_process(server), a_process(server)
    async with here.issuer, there.issuer, anyio.create_task_group() as group:
        group.start_soon(there.issuer.run)
        _, secret = await here.issuer.create("team", "default", NO_LIMITS, "r")
        await until(lambda: not is_refused(there, secret), within_s=1)
        await here.issuer.delete("team", "r")
        await until(lambda: is_refused(there, secret), within_s=1)
        group.cancel_scope.cancel()


async def test_a_record_that_stays_is_not_read_again(server: RedisServer) -> None:
    here = a_process(server)
    async with here.issuer:
        _, first = await here.issuer.create("one", "default", NO_LIMITS, "r")
        caller = here.caller(first)
        await here.issuer.create("two", "default", NO_LIMITS, "r")
        assert (await here.issuer.key("one")) is not None
        assert here.caller(first) is caller
        served = len(here.rings)
        await here.issuer.keys()
        assert len(here.rings) == served, "nothing has changed"


async def test_a_reload_means_every_key_anew(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    here = a_process(server, an_access("default", "gone"))
    async with here.issuer:
        _, secret = await here.issuer.create("team", "gone", NO_LIMITS, "r")
        for _ in range(2):
            here.issuer.configure(an_access("default"))
            with pytest.raises(PlanNotFound, match='the plan "gone"'):
                here.caller(secret)
        here.issuer.configure(an_access("gone"))
        assert here.caller(secret).plan.name == "gone"
    (told,) = events(caplog, "key_set_aside")
    assert (told["key"], told["reason"]) == ("team", "its plan is not in the configuration")


async def test_a_key_that_the_file_has_now_can_only_be_deleted(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    here = a_process(server)
    async with here.issuer:
        _, secret = await here.issuer.create("team", "default", NO_LIMITS, "r")
        here.issuer.configure(an_access(file_keys=("team",)))
        assert is_refused(here, secret)
        with pytest.raises(KeyConflict, match="in the configuration file"):
            await here.issuer.rotate("team", 0, "r")
        assert (await here.issuer.delete("team", "r")).state == "replaced_by_file"
        here.issuer.configure(an_access())
        assert is_refused(here, secret), "it does not come back with the file's change"
    assert len(events(caplog, "key_set_aside")) == 1


async def test_a_record_nobody_can_read_is_set_aside_and_told_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    here = a_process(server)
    async with here.issuer:
        _, secret = await here.issuer.create("good", "default", NO_LIMITS, "r")
        server.client().hset("sluicegate:{keys}:records", "bad", "{}")
        server.client().incr("sluicegate:{keys}:version")
        assert [one.key.name for one in await here.issuer.keys()] == ["good"]
        server.client().incr("sluicegate:{keys}:version")
        await here.issuer.keys()
        here.issuer.configure(an_access())
        assert here.caller(secret).name == "good"
        with pytest.raises(KeyConflict, match="cannot be read by this version"):
            await here.issuer.rotate("bad", 0, "r")
    (told,) = events(caplog, "key_set_aside")
    assert told["key"] == "bad"


# --- without Redis


async def test_known_keys_stay_valid_while_redis_is_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.issuer.POLL_S", 0.01)
    with a_redis() as server:
        here = a_process(server)
        async with here.issuer, anyio.create_task_group() as group:
            group.start_soon(here.issuer.run)
            _, secret = await here.issuer.create("team", "default", NO_LIMITS, "r")
            server.kill()
            await until(lambda: bool(events(caplog, "key_store_state")), within_s=5)
            assert here.caller(secret).name == "team"
            assert [one.key.name for one in await here.issuer.keys()] == ["team"]
            with pytest.raises(KeysUnavailable):
                await here.issuer.rotate("team", 0, "r")
            server.start()
            await until(lambda: len(events(caplog, "key_store_state")) == 2, within_s=5)
            assert here.caller(secret).name == "team", "Redis came back without its memory"
            group.cancel_scope.cancel()
        there = a_process(server)
        async with there.issuer:
            assert there.caller(secret).name == "team", "and was told again"
    assert [told["state"] for told in events(caplog, "key_store_state")] == ["away", "ok"]
    (restored,) = events(caplog, "keys_restored")
    assert restored["count"] == 1


async def test_a_change_first_tells_a_redis_without_memory_what_it_forgot(
    server: RedisServer,
) -> None:
    here, there = a_process(server), a_process(server)
    async with here.issuer:
        _, first = await here.issuer.create("one", "default", NO_LIMITS, "r")
        server.client().flushall()
        _, second = await here.issuer.create("two", "default", NO_LIMITS, "r")
        assert [here.caller(one).name for one in (first, second)] == ["one", "two"]
    async with there.issuer:
        assert [there.caller(one).name for one in (first, second)] == ["one", "two"]


async def test_of_several_processes_one_tells_a_redis_without_memory(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = a_process(server), a_process(server)
    async with here.issuer, there.issuer:
        _, secret = await here.issuer.create("one", "default", NO_LIMITS, "r")
        await there.issuer.keys()
        server.client().flushall()
        async with anyio.create_task_group() as group:
            group.start_soon(here.issuer.keys)
            group.start_soon(there.issuer.keys)
        assert here.caller(secret).name == there.caller(secret).name == "one"
    assert len(events(caplog, "keys_restored")) == 1


async def test_until_redis_was_asked_unknown_keys_may_try_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with a_redis() as server:
        server.kill()
        here = a_process(server)
        async with here.issuer:
            await here.issuer._try_refresh()
            assert len(events(caplog, "key_store_state")) == 1
            with pytest.raises(KeysUnavailable):
                here.caller("sk-any")
            with pytest.raises(KeysUnavailable):
                await here.issuer.keys()
            server.start()
            assert await here.issuer.keys() == []
            assert is_refused(here, "sk-any")


async def test_an_older_copy_of_the_store_is_believed(server: RedisServer) -> None:
    here = a_process(server)
    async with here.issuer:
        await here.issuer.create("one", "default", NO_LIMITS, "r")
        await here.issuer.create("two", "default", NO_LIMITS, "r")
        server.client().hdel("sluicegate:{keys}:records", "two")
        server.client().set("sluicegate:{keys}:version", 1)
        assert [one.key.name for one in await here.issuer.keys()] == ["one"]


async def test_a_bug_while_following_is_told_and_following_goes_on(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.auth.issuer.POLL_S", 0.01)
    here = a_process(server)
    async with here.issuer, anyio.create_task_group() as group:
        server.client().set("sluicegate:{keys}:version", "no number")
        group.start_soon(here.issuer.run)
        await until(lambda: bool(events(caplog, "bug")), within_s=5)
        server.client().delete("sluicegate:{keys}:version")
        _, secret = await here.issuer.create("team", "default", NO_LIMITS, "r")
        assert here.caller(secret).name == "team"
        group.cancel_scope.cancel()


# --- opening


def test_keys_in_memory_cannot_be_made() -> None:
    assert open_issuer(Limits(), {}, FakeClock(), an_access(), lambda _: None) is None


@pytest.mark.parametrize("address", ["http://no", ""])
def test_an_address_that_cannot_be_read_is_a_problem_of_the_file(address: str) -> None:
    limits = Limits.model_validate({"store": "redis", "redis_url": {"from_env": "R"}})
    with pytest.raises(ConfigInvalid, match=r"limits\.redis_url"):
        open_issuer(limits, {"R": address}, FakeClock(), an_access(), lambda _: None)


async def test_an_issuer_is_opened_for_the_store_redis(server: RedisServer) -> None:
    limits = Limits.model_validate({"store": "redis", "redis_url": {"from_env": "R"}})
    opened = open_issuer(limits, {"R": server.url}, FakeClock(), an_access(), lambda _: None)
    assert opened is not None
    async with opened:
        assert await opened.keys() == []
