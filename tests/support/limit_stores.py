"""Limit stores whose time a test tells: each of them, and a Redis that fails when asked to.

Redis keeps its own time, so the script's one line that reads it is replaced by one that reads a
key. All the rest of the script runs as it is, in a real server.
"""

import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import redis.asyncio

from gateway.config.access import Rates
from gateway.limits.bucket import Bucket, Scope
from gateway.limits.memory_store import MemoryStore
from gateway.limits.redis_link import SCRIPT, RedisLink
from gateway.limits.redis_reader import RedisReader
from gateway.limits.redis_store import RedisStore
from gateway.limits.rules import buckets_for
from gateway.limits.store import Claim, LimitStore, StoreState
from gateway.telemetry.metrics import Metrics
from tests.support.fake_clock import FakeClock
from tests.support.running import until

LEASE_S = 15.0
_OWN_TIME = """  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
"""
_TOLD_TIME = """  return tonumber(redis.call('GET', KEYS[1] .. ':wall'))
"""
assert SCRIPT.count(_OWN_TIME) == 1
TOLD_SCRIPT = SCRIPT.replace(_OWN_TIME, _TOLD_TIME)
_WALL_US = 1_800_000_000_000_000
PATIENT_S = 10.0


def buckets(**rates: object) -> tuple[Bucket, ...]:
    """The buckets of one key with these limits."""
    return buckets_for(Scope.KEY, "k", Rates.model_validate(rates))


def claim(some: Sequence[Bucket], *costs: float) -> Claim:
    return tuple(zip(some, costs, strict=True))


@dataclass(slots=True)
class Faults:
    """What befalls the next scripts: `refuse` them unsent, or `swallow` their replies."""

    refuse: int = 0
    swallow: int = 0


@dataclass(slots=True)
class Rig:
    """Several processes' stores over the same limits."""

    clock: FakeClock
    stores: list[LimitStore]
    faults: list[Faults] = field(default_factory=list)
    client: "redis.asyncio.Redis | None" = None
    prefix: str = ""
    ahead_us: int = 0
    lives: list[anyio.CancelScope] = field(default_factory=list)
    start: Callable[[int], Awaitable[None]] | None = None

    async def kill(self, number: int) -> None:
        """One process is gone without a word, and another takes its place."""
        if self.start is not None:
            self.lives[number].cancel()
            await self.start(number)

    @property
    def store(self) -> LimitStore:
        return self.stores[0]

    @property
    def observer(self) -> LimitStore:
        """A process that only looks, and that no fault befalls."""
        return self.stores[-1]

    async def pass_s(self, seconds: float) -> None:
        """Time passes for everybody."""
        self.clock.pass_s(seconds)
        await self._tell_time()

    async def step_s(self, seconds: float) -> None:
        """Somebody sets the server's clock."""
        self.ahead_us += round(seconds * 1e6)
        await self._tell_time()

    async def beat(self) -> None:
        """Let every process tell Redis that its holds live."""
        for store in self.stores:
            if isinstance(store, RedisStore):
                store._renew_at_s = 0.0
                store._signal.nudge()
                await store.lacks(())
        await self.settled()

    async def forget(self) -> None:
        """The server loses all that it knows of these limits, and its scripts."""
        if self.client is None:
            return
        await self.settled()
        await self.client.script_flush()
        if keys := [key async for key in self.client.scan_iter(self.prefix + "*")]:
            await self.client.delete(*keys)
        await self._tell_time()

    async def settled(self) -> None:
        """Wait until Redis has been told everything by every process."""
        await until(lambda: all(map(_is_settled, (*self.stores, self.observer))), PATIENT_S)

    async def _tell_time(self) -> None:
        if self.client is not None:
            wall_us = _WALL_US + round(self.clock.now_s() * 1e6) + self.ahead_us
            await self.client.set(f"{self.prefix}clock:wall", wall_us)


@asynccontextmanager
async def memory_rig() -> AsyncIterator[Rig]:
    clock = FakeClock()
    yield Rig(clock, [MemoryStore(clock)])


@asynccontextmanager
async def redis_rig(
    port: int, processes: int = 1, on_failure: StoreState = StoreState.DENY
) -> AsyncIterator[Rig]:
    """Stores of so many processes on this Redis, under names of their own."""
    async with AsyncExitStack() as stack:
        client = redis.asyncio.Redis(port=port)
        stack.push_async_callback(client.aclose)
        clock = FakeClock()
        rig = Rig(clock, [], [], client, prefix=f"{{test-{secrets.token_hex(6)}}}:")
        await rig.pass_s(0)
        script = client.register_script(TOLD_SCRIPT)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)

        async def start(number: int) -> None:
            faults = Faults()
            store = a_redis_store(rig, script, faults, number, on_failure)
            await store.__aenter__()
            life = anyio.CancelScope()

            async def live() -> None:
                with life:
                    await store.run()

            tasks.start_soon(live)
            rig.stores[number:] = [store, *rig.stores[number + 1 :]]
            rig.faults[number:] = [faults, *rig.faults[number + 1 :]]
            rig.lives[number:] = [life, *rig.lives[number + 1 :]]

        rig.start = start
        for number in range(processes + 1):
            await start(number)
        yield rig
        await rig.settled()


def _is_settled(store: LimitStore) -> bool:
    if isinstance(store, RedisStore) and store._has_work():
        return False
    return store.state is StoreState.OK and not store.pending


def a_redis_store(
    rig: Rig,
    script: "redis.commands.core.AsyncScript",
    faults: Faults,
    seed: int,
    on_failure: StoreState,
    shares: int = 1,
) -> RedisStore:
    async def evaluate(keys: Sequence[str], arguments: Sequence[bytes]) -> bytes:
        if faults.refuse:
            faults.refuse -= 1
            raise redis.exceptions.ConnectionError("refused")
        reply: bytes = await script(keys, arguments)
        if faults.swallow:
            faults.swallow -= 1
            raise redis.exceptions.ConnectionError("swallowed")
        return reply

    async def close() -> None:
        pass

    return RedisStore(
        RedisLink(evaluate, rig.clock, prefix=rig.prefix, lease_s=LEASE_S),
        MemoryStore(rig.clock, shares=shares),
        Metrics(),
        rig.clock,
        random.Random(seed),
        on_failure=on_failure,
        expected_processes=1,
        timeout_s=PATIENT_S,
        lease_s=LEASE_S,
        close=close,
        reader=RedisReader(script.registered_client, rig.prefix),
    )
