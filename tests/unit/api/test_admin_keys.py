from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from pydantic import SecretStr

from gateway.api.admin_audit import audit_router
from gateway.api.admin_keys import keys_router
from gateway.auth.issuer import Issuer
from gateway.fleet.state import FleetState
from tests.support.asked_app import ask
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock
from tests.support.issuers import a_store
from tests.support.redis_servers import RedisServer, a_redis

pytestmark = pytest.mark.redis
KEY = SecretStr("admin")


def a_fleet() -> FleetState:
    return FleetState(
        a_catalog(
            plans=[{"name": "p", "requests_per_minute": 60, "tokens_per_minute": 900}],
            keys=[{"name": "org/filed", "plan": "p", "secret": {"value": "sk-filed"}}],
        )
    )


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with a_redis() as one:
        yield one


@pytest.fixture
async def routers(server: RedisServer) -> AsyncIterator[tuple[APIRouter, ...]]:
    server.client().flushall()
    fleet, clock = a_fleet(), FakeClock()
    issuer = Issuer(a_store(server), clock, fleet.catalog.access, fleet.serve_issued)
    async with issuer:
        yield keys_router(fleet, issuer, clock, KEY), audit_router(issuer, KEY)


Routers = tuple[APIRouter, ...]


async def asked(routers: Routers, method: str, path: str, body: object = None) -> httpx.Response:
    more = {} if body is None else {"json": body}
    return await ask(*routers, method=method, path=f"/admin{path}", key="admin", **more)


async def test_a_key_is_made_with_its_secret_and_shown_without(routers: Routers) -> None:
    limits = {"tokens_per_minute": None, "burst": {"requests_per_minute": 5}}
    made = await asked(routers, "POST", "/keys", {"name": "t", "plan": "p", "limits": limits})
    assert made.status_code == 201
    secret = made.json()["secret"]
    shown = await asked(routers, "GET", "/keys/t")
    assert shown.json() == {
        "name": "t",
        "source": "redis",
        "plan": "p",
        "state": "active",
        "limits": {"requests_per_minute": 60, "burst": {"requests_per_minute": 5}},
        "own_limits": limits,
        "created_unix_s": 1_700_001_000.0,
        "changed_unix_s": 1_700_001_000.0,
        "old_secret_ends_unix_s": None,
    }
    for path in ("/keys", "/keys/t", "/audit"):
        assert secret not in (await asked(routers, "GET", path)).text


async def test_keys_of_the_file_are_listed_first(routers: Routers) -> None:
    for name in ("b", "a"):
        await asked(routers, "POST", "/keys", {"name": name})
    listed = (await asked(routers, "GET", "/keys")).json()["keys"]
    assert [(one["name"], one["source"]) for one in listed] == [
        ("org/filed", "file"),
        ("a", "redis"),
        ("b", "redis"),
    ]
    assert listed[0]["limits"] == {"requests_per_minute": 60, "tokens_per_minute": 900}
    assert (await asked(routers, "GET", "/keys/org%2Ffiled")).json() == listed[0]


async def test_a_key_is_rotated_disabled_enabled_and_deleted(routers: Routers) -> None:
    made = await asked(routers, "POST", "/keys", {"name": "t"})
    rotated = await asked(routers, "POST", "/keys/t/rotate", {"grace_s": 60})
    assert rotated.json()["secret"] != made.json()["secret"]
    assert rotated.json()["old_secret_ends_unix_s"] == 1_700_001_060.0
    states = [
        (await asked(routers, method, path)).json()["state"]
        for method, path in (
            ("POST", "/keys/t/disable"),
            ("GET", "/keys/t"),
            ("POST", "/keys/t/enable"),
            ("DELETE", "/keys/t"),
        )
    ]
    assert states == ["disabled", "disabled", "active", "active"]
    assert (await asked(routers, "GET", "/keys/t")).status_code == 404
    entries = (await asked(routers, "GET", "/audit?limit=4")).json()["entries"]
    assert [one["action"] for one in entries] == ["delete", "enable", "disable", "rotate"]


async def test_a_rotation_without_a_body_has_a_day_of_grace(routers: Routers) -> None:
    await asked(routers, "POST", "/keys", {"name": "t"})
    rotated = await asked(routers, "POST", "/keys/t/rotate")
    assert rotated.json()["old_secret_ends_unix_s"] == 1_700_001_000.0 + 86400


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param", "code"),
    [
        ("POST", "/keys", {"name": "a b"}, 400, "name", None),
        ("POST", "/keys", {"name": "a/b"}, 400, "name", None),
        ("POST", "/keys", {"name": ""}, 400, "name", None),
        ("POST", "/keys", {"name": "x" * 129}, 400, "name", None),
        ("POST", "/keys", {"name": "x", "plan": "none"}, 400, "plan", None),
        ("POST", "/keys", {"name": "x", "secret": "sk-mine"}, 400, "secret", None),
        (
            "POST",
            "/keys",
            {"name": "x", "limits": {"concurrent_requests": 10**30}},
            400,
            "limits.concurrent_requests",
            None,
        ),
        ("POST", "/keys", {"name": "t"}, 409, "name", "key_conflict"),
        ("POST", "/keys/t/rotate", {"grace_s": -1}, 400, "grace_s", None),
        ("POST", "/keys/t/rotate", {"grace_s": 2592001}, 400, "grace_s", None),
        ("POST", "/keys/none/rotate", None, 404, "name", "key_not_found"),
        ("POST", "/keys/org%2Ffiled/rotate", None, 409, "name", "key_conflict"),
        ("POST", "/keys/org%2Ffiled/disable", None, 409, "name", "key_conflict"),
        ("DELETE", "/keys/org%2Ffiled", None, 409, "name", "key_conflict"),
        ("GET", "/keys/none", None, 404, None, "key_not_found"),
        ("GET", "/audit?limit=1001", None, 400, "limit", None),
    ],
)
async def test_what_cannot_be_done_is_told(
    routers: Routers,
    method: str,
    path: str,
    body: object,
    status: int,
    param: str | None,
    code: str | None,
) -> None:
    await asked(routers, "POST", "/keys", {"name": "t"})
    answer = await asked(routers, method, path, body)
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)


async def test_where_limits_are_in_memory_keys_are_those_of_the_file() -> None:
    routers = (keys_router(a_fleet(), None, FakeClock(), KEY), audit_router(None, KEY))
    made = await asked(routers, "POST", "/keys", {"name": "t"})
    assert made.status_code == 409
    assert "`limits.store: redis`" in made.json()["error"]["message"]
    listed = (await asked(routers, "GET", "/keys")).json()["keys"]
    assert [one["name"] for one in listed] == ["org/filed"]
    assert (await asked(routers, "GET", "/keys/t")).status_code == 404
    assert (await asked(routers, "GET", "/audit")).json() == {"entries": []}
