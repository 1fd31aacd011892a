"""Each limit store against an exact oracle, over random schedules.

Several processes take and settle in any order while time passes, clocks are set, processes die,
requests to Redis are lost and replies are lost. After every step store and oracle must agree on
what was granted and on how full every bucket is.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import LimiterDown
from gateway.limits.store import Claim, Hold, StoreState
from tests.support.limit_oracle import Oracle
from tests.support.limit_stores import LEASE_S, Rig, buckets, memory_rig, redis_rig

if TYPE_CHECKING:
    from tests.support.redis_servers import RedisServer

BUCKETS = buckets(
    requests_per_minute=120,
    tokens_per_minute=7000,
    tokens_per_hour=100_000,
    concurrent_requests=3,
    burst={"requests_per_minute": 7, "tokens_per_hour": 9000},
)
PROCESSES = 3


@dataclass(frozen=True)
class Take:
    process: int
    tokens: int
    which: tuple[bool, ...]

    def claim(self) -> Claim:
        costs = (1, self.tokens, self.tokens, 1)
        pairs = zip(zip(BUCKETS, costs, strict=True), self.which, strict=True)
        chosen = [pair for pair, is_in in pairs if is_in]
        return tuple(chosen)


@dataclass(frozen=True)
class Settle:
    which: int
    tokens: int


@dataclass(frozen=True)
class Pass:
    seconds: float


@dataclass(frozen=True)
class Step:
    """Somebody sets the server's clock."""

    seconds: float


@dataclass(frozen=True)
class Fail:
    """The next question of a process is lost, or its answer."""

    process: int
    is_swallowed: bool


@dataclass(frozen=True)
class Kill:
    """A process is gone, with everything it held."""

    process: int


_processes = st.integers(0, PROCESSES - 1)
_takes = st.builds(
    Take,
    _processes,
    st.integers(0, 7000),
    st.tuples(*[st.booleans()] * len(BUCKETS)).filter(any),
)
_steps = st.one_of(
    _takes,
    _takes,
    st.builds(Settle, st.integers(0, 50), st.integers(0, 20_000)),
    st.builds(Pass, st.sampled_from([0.001, 0.1, 1.0, 7.3, 60.0, 4000.0])),
)
_server_steps = st.one_of(
    _steps,
    _steps,
    _steps,
    st.builds(Step, st.sampled_from([-3600.0, -61.0, 61.0, 3600.0])),
    st.builds(Fail, _processes, st.booleans()),
    st.builds(Kill, _processes),
)


class Play:
    """A schedule, played on a store and the oracle at once."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.oracle = Oracle()
        self.holds: list[tuple[int, Hold]] = []

    async def step(self, step: Any) -> None:
        match step:
            case Take(process=process):
                await self._take(process % max(1, len(self.rig.stores) - 1), step.claim())
            case Settle(which=which, tokens=tokens) if self.holds:
                process, hold = self.holds.pop(which % len(self.holds))
                costs = [1.0 if b.measure.value != "tokens" else tokens for b, _ in hold.claim]
                self.oracle.settle(hold, hold.claim, costs)
                self.rig.stores[process].settle(hold, costs)
            case Pass(seconds=seconds):
                await self._pass(seconds)
            case Step(seconds=seconds):
                await self.rig.settled()
                await self.rig.step_s(seconds)
            case Fail(process=process, is_swallowed=is_swallowed):
                faults = self.rig.faults[process % max(1, len(self.rig.stores) - 1)]
                faults.swallow, faults.refuse = int(is_swallowed), int(not is_swallowed)
            case Kill(process=process):
                await self._kill(process % max(1, len(self.rig.stores) - 1))
            case _:
                pass
        await self.rig.settled()
        await self.compare()

    async def _take(self, process: int, claim: Claim) -> None:
        key = object()
        is_granted, is_certain = self.oracle.take(key, claim)
        try:
            verdict = await self.rig.stores[process].take(claim)
        except LimiterDown:
            return
        if is_certain:
            assert isinstance(verdict, Hold) is is_granted, (verdict, claim)
        if isinstance(verdict, Hold):
            self.oracle.took(verdict, claim)
            self.holds.append((process, verdict))

    async def _kill(self, process: int) -> None:
        await self.rig.settled()
        await self.rig.beat()  # so that its leases end when they should
        await self.rig.kill(process)
        gone = [hold for owner, hold in self.holds if owner == process]
        self.holds = [(owner, hold) for owner, hold in self.holds if owner != process]
        self.oracle.die(gone, LEASE_S)

    async def _pass(self, seconds: float) -> None:
        # no longer than leases last: a test's time runs faster than heartbeats beat
        while seconds > 0:
            part = min(seconds, LEASE_S / 2)
            await self.rig.pass_s(part)
            self.oracle.now += Fraction(part)
            seconds -= part
            await self.rig.beat()

    async def compare(self) -> None:
        lacks = await self.rig.observer.lacks(BUCKETS)
        for bucket, lack in zip(BUCKETS, lacks, strict=True):
            assert lack == pytest.approx(self.oracle.lack_us(bucket), rel=1e-9, abs=2.0), bucket


async def play(rig: AbstractAsyncContextManager[Rig], steps: list[Any]) -> None:
    async with rig as one:
        game = Play(one)
        with anyio.fail_after(20):
            for step in steps:
                await game.step(step)
            for process, hold in game.holds:
                game.oracle.settle(hold, hold.claim, [0.0] * len(hold.claim))
                one.stores[process].settle(hold, [0.0] * len(hold.claim))
            await one.settled()
            await game.compare()


@given(st.lists(_steps, max_size=40))
async def test_the_memory_store_is_exact(steps: list[Any]) -> None:
    await play(memory_rig(), steps)


@pytest.mark.redis
@pytest.mark.timeout(120)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_server_steps, max_size=30))
async def test_redis_is_exact_for_several_processes_whatever_fails(
    redis_server: "RedisServer", steps: list[Any]
) -> None:
    await play(redis_rig(redis_server.port, PROCESSES), steps)


@pytest.mark.redis
@pytest.mark.timeout(120)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_server_steps, max_size=30))
async def test_one_process_that_goes_on_without_redis_is_as_exact(
    redis_server: "RedisServer", steps: list[Any]
) -> None:
    await play(redis_rig(redis_server.port, 1, StoreState.LOCAL), steps)
