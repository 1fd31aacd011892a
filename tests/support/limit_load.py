"""Callers that take and settle without a pause, and an account of what that must come to.

What Redis holds is read as it lies there and turned into units by the arithmetic of the bucket:
nothing of the store under test is asked. Limits are per day with a deep burst, so that a unit
comes back every few seconds, and what came back is accounted for.
"""

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import redis

from gateway.clock import SystemClock
from gateway.config.access import Limits
from gateway.errors import LimiterDown
from gateway.limits.bucket import Bucket, Measure, Scope
from gateway.limits.redis_store import RedisStore
from gateway.limits.store import Claim, Hold, StoreState
from gateway.limits.stores import open_store
from gateway.telemetry.metrics import Metrics
from tests.support.running import until

DAY_S = 86_400
SLOTS = 6
PREFIX = "sluicegate:{limits}:"
# more than a settled wait of a request, far less than a hang
PATIENCE_S = 2.0
RECOVERY_S = 10.0
_PREFILL = 1000


def a_rate(
    rule: str = "tokens_per_day", owner: str = "team", limit: int = 10_000, burst: int = 10_000_000
) -> Bucket:
    measure = Measure(rule.partition("_")[0])
    period_s = {"minute": 60, "hour": 3600, "day": DAY_S}[rule.rpartition("_")[2]]
    return Bucket(Scope.KEY, owner, rule, measure, limit, period_s, burst)


def a_slots(owner: str = "team", limit: int = SLOTS) -> Bucket:
    return Bucket(Scope.KEY, owner, "concurrent_requests", Measure.CONCURRENT, limit, 0, limit)


@dataclass(slots=True)
class Opened:
    """A store that runs."""

    store: RedisStore
    metrics: Metrics

    async def is_in(self, state: StoreState, within_s: float = RECOVERY_S) -> None:
        await until(lambda: self.store.state is state, within_s)

    async def is_done(self, within_s: float = RECOVERY_S) -> None:
        """Wait until Redis knows everything."""
        with anyio.fail_after(within_s):
            while True:
                await until(self._has_told, within_s)
                # batches come one after the other: what was on its way has arrived by now
                await self.store.lacks((a_rate(owner="nobody"),))
                if self._has_told():
                    return

    def _has_told(self) -> bool:
        return self.store.state is StoreState.OK and not self.store._has_work()

    def failures(self) -> set[str]:
        """The reasons that the metric tells."""
        lines = self.metrics.render().decode().splitlines()
        name = "gateway_limit_store_failures_total{reason="
        return {
            line[len(name) :].split('"')[1]
            for line in lines
            if line.startswith(name) and not line.endswith(" 0.0")
        }


@asynccontextmanager
async def a_store(url: str, **limits: Any) -> AsyncIterator[Opened]:
    """The store of a gateway with these limits.

    It waits longer than by default, so that a machine with much to do does not look like a fault.
    """
    limits = {"store": "redis", "redis_url": {"value": url}, "store_timeout_s": 0.2} | limits
    metrics = Metrics()
    store = open_store(
        Limits.model_validate(limits),
        {},
        metrics,
        SystemClock(),
        random.Random(1),
        workers=1,
    )
    assert isinstance(store, RedisStore)
    async with store, anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        yield Opened(store, metrics)
        tasks.cancel_scope.cancel()


@dataclass(slots=True)
class Load:
    """What callers do, and what came of it."""

    opened: Sequence[Opened]
    rates: tuple[Bucket, Bucket] = field(
        default_factory=lambda: (a_rate(), a_rate("requests_per_day"))
    )
    slots: Bucket = field(default_factory=a_slots)
    used: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    longest_wait_s: float = 0.0
    at_once: int = 0
    most_at_once: int = 0
    is_over: bool = False
    began_s: float = 0.0
    _rng: random.Random = field(default_factory=lambda: random.Random(7))

    async def prefill(self) -> None:
        """From now on no bucket is full, so time gives back as much as it says."""
        claim = tuple((bucket, float(_PREFILL)) for bucket in self.rates)
        hold = await self.opened[0].store.take(claim)
        assert isinstance(hold, Hold)
        self.began_s = time.monotonic()
        self.opened[0].store.settle(hold, [_PREFILL] * len(claim))
        self.used.update({bucket.rule: _PREFILL for bucket in self.rates})
        await self.opened[0].is_done()

    async def call(self, number: int) -> None:
        """One caller, who calls until it is over."""
        store = self.opened[number % len(self.opened)].store
        while not self.is_over:
            estimate, used = self._rng.randrange(1, 200), self._rng.randrange(0, 400)
            claim = ((self.rates[0], float(estimate)), (self.rates[1], 1.0), (self.slots, 1.0))
            asked_s = time.monotonic()
            try:
                verdict = await store.take(claim)
            except LimiterDown:
                verdict = None
            self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - asked_s)
            if not isinstance(verdict, Hold):
                self.verdicts["down" if verdict is None else "refused"] += 1
                await anyio.sleep(0.01)
                continue
            self.verdicts["local" if verdict.is_local else "granted"] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await anyio.sleep(self._rng.uniform(0.0, 0.02))
            self.at_once -= 1
            store.settle(verdict, [used, 1.0, 1.0])
            self.used.update({self.rates[0].rule: used, self.rates[1].rule: 1})

    async def goes_on(self, calls: int = 20, verdict: str = "") -> None:
        """Wait until there have been so many more verdicts, of this kind where one is named."""

        def count() -> int:
            return self.verdicts[verdict] if verdict else self.verdicts.total()

        wanted = count() + calls
        await until(lambda: count() >= wanted, RECOVERY_S)


@asynccontextmanager
async def a_load(*opened: Opened, callers: int = 8) -> AsyncIterator[Load]:
    """Callers on these stores; when it is left they have ended and Redis knows all of it."""
    load = Load(opened)
    await load.prefill()
    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(load.call, number)
        await load.goes_on()
        yield load
        await load.goes_on()
        load.is_over = True
    for one in opened:
        await one.is_done()


def units_in(client: redis.Redis, bucket: Bucket) -> float:
    """How many units the bucket is short of in Redis, now by its own clock."""
    full_at_us = float(str(client.get(PREFIX + bucket.key) or 0))
    seconds, micros = client.time()
    wall_us, now_us = map(float, client.hmget(PREFIX + "clock", "wall", "now"))  # type: ignore[arg-type]
    now_us += seconds * 1e6 + micros - wall_us
    return max(0.0, full_at_us - now_us) / bucket.interval_us


def slots_in(client: redis.Redis, bucket: Bucket) -> int:
    """Slots that are taken, their leases run or not."""
    return int(client.zcard(PREFIX + bucket.key))


def assert_sums(load: Load, client: redis.Redis, tolerance: float = 0.3) -> None:
    """Redis holds what was used, no unit more or less, and no slot."""
    assert dict(_differences(load, client, tolerance)) == {}
    assert slots_in(client, load.slots) == 0
    assert load.longest_wait_s < PATIENCE_S
    assert load.most_at_once <= load.slots.limit


def _differences(
    load: Load, client: redis.Redis, tolerance: float
) -> Iterator[tuple[str, tuple[float, int]]]:
    for bucket in load.rates:
        returned = (time.monotonic() - load.began_s) * 1e6 / bucket.interval_us
        found = units_in(client, bucket) + returned
        if abs(found - load.used[bucket.rule]) > tolerance:
            yield bucket.rule, (round(found, 2), load.used[bucket.rule])


async def taken(opened: Opened, claim: Claim) -> Hold:
    """What must be granted now."""
    verdict = await opened.store.take(claim)
    assert isinstance(verdict, Hold)
    return verdict
