from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import SecretStr
from typing_extensions import override

from gateway.api.admin_limits import limits_router
from gateway.auth.issuer import Issuer
from gateway.config.access import Rates
from gateway.fleet.state import FleetState
from gateway.limits.bucket import Bucket
from gateway.limits.limiter import Limiter
from gateway.limits.memory_store import MemoryStore
from gateway.limits.store import OpenHold
from gateway.telemetry.metrics import Metrics
from tests.support.asked_app import ask
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock
from tests.support.issuers import a_store
from tests.support.redis_servers import a_redis

PLAN = {
    "name": "p",
    "requests_per_minute": 60,
    "tokens_per_hour": 3600,
    "concurrent_requests": 3,
    "burst": {"requests_per_minute": 10},
}
FILED: dict[str, Any] = {"name": "filed", "plan": "p", "secret": {"value": "sk"}}


class Leased(MemoryStore):
    """Tells of slots as Redis would."""

    @override
    async def holds(self, slots: Bucket) -> Sequence[OpenHold]:
        return [OpenHold("ab12", "7", 14.5)] * len(await super().holds(slots))


def a_fleet(**more: Any) -> FleetState:
    return FleetState(a_catalog(plans=[PLAN], **more))


def a_router(fleet: FleetState, limiter: Limiter, issuer: Issuer | None = None) -> APIRouter:
    return limits_router(fleet, issuer, limiter, SecretStr("admin"))


async def shown(router: APIRouter, key: str) -> dict[str, Any]:
    answer = await ask(router, path=f"/admin/limits/{key}", key="admin")
    assert answer.status_code == 200, answer.text
    levels: dict[str, Any] = answer.json()
    return levels


async def test_every_limit_shows_what_is_left_and_every_slot_who_has_it() -> None:
    clock = FakeClock()
    fleet, limiter = a_fleet(keys=[FILED]), Limiter(Leased(clock), Metrics(), clock)
    caller = fleet.catalog.keys.of_file()["filed"]
    costs = (1.0, 600.0, 1.0)
    claim = tuple(zip(limiter.buckets_of(caller), costs, strict=True))
    await limiter.store.take(claim)
    assert await shown(a_router(fleet, limiter), "filed") == {
        "key": "filed",
        "plan": "p",
        "store_state": "ok",
        "limits": [
            {
                "rule": "requests_per_minute",
                "limit": 60,
                "burst": 10,
                "left": 9,
                "reset_s": 1.0,
            },
            {
                "rule": "tokens_per_hour",
                "limit": 3600,
                "burst": 3600,
                "left": 3000,
                "reset_s": 600.0,
            },
            {
                "rule": "concurrent_requests",
                "limit": 3,
                "burst": 3,
                "left": 2,
                "reset_s": None,
            },
        ],
        "slots_in_use": 1,
        "holds": [{"process": "ab12", "hold": "7", "lease_s": 14.5}],
    }


async def test_a_key_without_limits_has_nothing_to_show() -> None:
    clock = FakeClock()
    fleet = a_fleet(keys=[FILED | {"plan": "default", "name": "org/free"}])
    levels = await shown(a_router(fleet, Limiter(MemoryStore(clock), Metrics(), clock)), "org/free")
    assert levels["limits"] == []
    assert levels["slots_in_use"] is levels["holds"] is None


async def test_who_calls_without_a_key_has_limits_too() -> None:
    clock = FakeClock()
    fleet = FleetState(a_catalog(plans=[PLAN | {"name": "default"}]))
    levels = await shown(
        a_router(fleet, Limiter(MemoryStore(clock), Metrics(), clock)), "anonymous"
    )
    assert len(levels["limits"]) == 3
    assert levels["holds"] == []


@pytest.mark.parametrize("key", ["none", "anonymous"])
async def test_a_key_that_is_not_there_has_none(key: str) -> None:
    clock = FakeClock()
    router = a_router(a_fleet(keys=[FILED]), Limiter(MemoryStore(clock), Metrics(), clock))
    answer = await ask(router, path=f"/admin/limits/{key}", key="admin")
    assert answer.status_code == 404


@pytest.mark.redis
async def test_a_key_made_at_run_time_has_its_own_numbers() -> None:
    clock = FakeClock()
    fleet = a_fleet(keys=[FILED])
    with a_redis() as server:
        issuer = Issuer(a_store(server), clock, fleet.catalog.access, fleet.serve_issued)
        async with issuer:
            await issuer.create("team", "p", Rates(tokens_per_hour=None), "r")
            limiter = Limiter(MemoryStore(clock), Metrics(), clock)
            router = a_router(fleet, limiter, issuer)
            levels = await shown(router, "team")
            absent = await ask(router, path="/admin/limits/none", key="admin")
    rules = [level["rule"] for level in levels["limits"]]
    assert rules == ["requests_per_minute", "concurrent_requests"]
    assert absent.status_code == 404
