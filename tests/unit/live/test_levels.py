from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from typing_extensions import override

from gateway.auth.issuer import Issuer
from gateway.config.access import Rates
from gateway.errors import LimiterDown
from gateway.fleet.state import FleetState
from gateway.limits.bucket import Bucket
from gateway.limits.limiter import Limiter
from gateway.limits.memory_store import MemoryStore
from gateway.live import levels as levels_module
from gateway.live.levels import SHOWN, KeyLevels
from gateway.live.view import KeysView
from gateway.telemetry.metrics import Metrics
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock
from tests.support.issuers import a_store
from tests.support.redis_servers import a_redis

PLANS: list[dict[str, Any]] = [
    {"name": "p", "requests_per_minute": 60, "concurrent_requests": 3},
    {"name": "unlimited"},
]


class Store(MemoryStore):
    """Counts how often it is asked; `lack_of` some owners."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.asked = 0
        self.lack_of: dict[str, float] = {}

    @override
    async def lacks(self, buckets: Sequence[Bucket]) -> Sequence[float]:
        self.asked += 1
        return [self.lack_of.get(bucket.owner, 0.0) for bucket in buckets]


def a_key(name: str, plan: str = "p") -> dict[str, Any]:
    return {"name": name, "plan": plan, "secret": {"value": f"sk-{name}"}}


async def read(store: Store, *keys: dict[str, Any], issuer: Issuer | None = None) -> KeysView:
    fleet = FleetState(a_catalog(plans=PLANS, keys=list(keys) or None))
    limiter = Limiter(store, Metrics(), FakeClock())
    return await KeyLevels(fleet, issuer, limiter).read()


async def test_keys_that_have_limits_are_told_the_emptiest_first_with_one_question() -> None:
    store = Store()
    store.lack_of["b"] = 59e6  # of 60 s
    told = await read(store, a_key("a"), a_key("b"), a_key("c", "unlimited"))
    assert store.asked == 1
    assert [key.key for key in told.keys] == ["b", "a"]
    minute, slots = told.keys[0].limits
    assert (minute.rule, minute.left, minute.limit, minute.burst) == (
        "requests_per_minute",
        1,
        60,
        60,
    )
    assert (slots.rule, slots.limit) == ("concurrent_requests", 3)
    assert (told.store_state, told.omitted, told.keys[0].plan) == ("ok", 0, "p")


async def test_whoever_calls_without_a_key_is_one_of_them() -> None:
    store = Store()
    assert await read(store) == KeysView(store_state="ok", keys=[], omitted=0)
    assert store.asked == 0  # nothing to ask about


@pytest.mark.redis
async def test_keys_made_at_run_time_are_among_them() -> None:
    clock = FakeClock()
    fleet = FleetState(a_catalog(plans=PLANS, keys=[a_key("filed")]))
    with a_redis() as server:
        issuer = Issuer(a_store(server), clock, fleet.catalog.access, fleet.serve_issued)
        async with issuer:
            await issuer.create("team", "p", Rates(), "r")
            limiter = Limiter(Store(), Metrics(), clock)
            told = await KeyLevels(fleet, issuer, limiter).read()
    assert [key.key for key in told.keys] == ["filed", "team"]


async def test_of_many_keys_some_are_shown_and_the_rest_is_counted() -> None:
    store = Store()
    told = await read(store, *(a_key(f"k{number}") for number in range(300)))
    assert (len(told.keys), told.omitted) == (SHOWN, 300 - SHOWN)


async def test_a_store_that_is_away_or_silent_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Away(Store):
        @override
        async def lacks(self, buckets: Sequence[Bucket]) -> Sequence[float]:
            raise LimiterDown("x")

    class Silent(Store):
        @override
        async def lacks(self, buckets: Sequence[Bucket]) -> Sequence[float]:
            await anyio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr(levels_module, "_WAIT_S", 0.05)
    for store in (Away(), Silent()):
        assert (await read(store, a_key("a"))).store_state == "unknown"
