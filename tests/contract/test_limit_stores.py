"""Every limit store keeps to the same contract, in memory and in a real Redis."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
import pytest

from gateway.limits.store import Hold, Refusal, StoreState, Usage
from tests.support.limit_stores import Rig, buckets, claim, memory_rig, redis_rig

if TYPE_CHECKING:
    from gateway.limits.bucket import Bucket
    from tests.support.redis_servers import RedisServer

Buckets = tuple["Bucket", ...]
MINUTE = buckets(requests_per_minute=60, burst={"requests_per_minute": 10})
TOKENS = buckets(tokens_per_minute=6000)
BOTH = buckets(requests_per_minute=60, tokens_per_day=86400)
SLOTS = buckets(concurrent_requests=2)
ALL = buckets(requests_per_minute=60, tokens_per_minute=6000, concurrent_requests=2)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        async with memory_rig() as one:
            yield one
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with redis_rig(server.port) as one:
        yield one


async def granted(rig: Rig, *costs: float, of: Buckets = MINUTE) -> Hold:
    verdict = await rig.store.take(claim(of, *costs))
    assert isinstance(verdict, Hold)
    return verdict


async def refused(rig: Rig, *costs: float, of: Buckets = MINUTE) -> Refusal:
    verdict = await rig.store.take(claim(of, *costs))
    assert isinstance(verdict, Refusal)
    return verdict


async def lack_s(rig: Rig, of: Buckets = MINUTE) -> list[float]:
    return [round(lack / 1e6, 6) for lack in await rig.store.lacks(of)]


async def test_a_full_bucket_gives_its_burst_and_no_more(rig: Rig) -> None:
    for _ in range(10):
        await granted(rig, 1)
    refusal = await refused(rig, 1)
    assert refusal.index == 0
    assert refusal.wait_us == pytest.approx(1e6)
    assert list(refusal.lacks) == [pytest.approx(10e6)]


async def test_waiting_the_stated_time_is_enough_and_a_little_less_is_not(rig: Rig) -> None:
    for _ in range(10):
        await granted(rig, 1)
    wait_s = (await refused(rig, 3)).wait_us / 1e6
    assert wait_s == pytest.approx(3)
    await rig.pass_s(wait_s - 0.001)
    assert (await refused(rig, 3)).wait_us == pytest.approx(1000)
    await rig.pass_s(0.001)
    await granted(rig, 3)
    await refused(rig, 1)


async def test_a_refusal_takes_nothing_anywhere(rig: Rig) -> None:
    await granted(rig, 10)
    await rig.pass_s(1)
    before = await lack_s(rig, ALL)
    hold = await granted(rig, 1, 1, 1, of=ALL)
    rig.store.settle(hold, [0, 0, 1])
    await rig.settled()
    refusal = await refused(rig, 1, 6001, 1, of=ALL)
    assert refusal.index == 1
    assert await lack_s(rig, ALL) == before


async def test_the_refusing_bucket_with_the_longest_wait_is_named(rig: Rig) -> None:
    await granted(rig, 60, 86400, of=BOTH)
    refusal = await refused(rig, 1, 1, of=BOTH)
    assert refusal.index == 0
    await rig.pass_s(0.5)
    refusal = await refused(rig, 1, 2, of=BOTH)
    assert refusal.index == 1
    assert refusal.wait_us == pytest.approx(1.5e6)


async def test_a_surplus_comes_back(rig: Rig) -> None:
    hold = await granted(rig, 5000, of=TOKENS)
    rig.store.settle(hold, [1000])
    await rig.settled()
    assert await lack_s(rig, TOKENS) == [10]
    await granted(rig, 5000, of=TOKENS)
    await refused(rig, 1, of=TOKENS)


async def test_a_surplus_never_fills_a_bucket_above_its_burst(rig: Rig) -> None:
    hold = await granted(rig, 6000, of=TOKENS)
    await rig.pass_s(50)
    rig.store.settle(hold, [0])
    await rig.settled()
    assert await lack_s(rig, TOKENS) == [0]
    await granted(rig, 6000, of=TOKENS)
    await refused(rig, 1, of=TOKENS)


async def test_a_deficit_is_taken_and_has_to_be_waited_for(rig: Rig) -> None:
    hold = await granted(rig, 6000, of=TOKENS)
    rig.store.settle(hold, [9000])
    await rig.settled()
    assert (await refused(rig, 1, of=TOKENS)).wait_us == pytest.approx(30.01e6)


async def test_debt_is_bounded_by_another_burst(rig: Rig) -> None:
    hold = await granted(rig, 6000, of=TOKENS)
    rig.store.settle(hold, [10_000_000])
    await rig.settled()
    assert await lack_s(rig, TOKENS) == [120]
    await rig.pass_s(60)
    assert await lack_s(rig, TOKENS) == [60]


async def test_settling_twice_is_settling_once(rig: Rig) -> None:
    hold = await granted(rig, 1, 5000, 1, of=ALL)
    other = await granted(rig, 1, 500, 1, of=ALL)
    for _ in range(3):
        rig.store.settle(hold, [1, 1000, 1])
    await rig.settled()
    assert await lack_s(rig, ALL) == [2, 15, 1e-6]
    assert other.is_open


async def test_slots_are_taken_and_come_free(rig: Rig) -> None:
    first = await granted(rig, 1, of=SLOTS)
    await granted(rig, 1, of=SLOTS)
    refusal = await refused(rig, 1, of=SLOTS)
    assert (refusal.index, refusal.wait_us, list(refusal.lacks)) == (0, 0, [2])
    rig.store.settle(first, [1])
    await rig.settled()
    await granted(rig, 1, of=SLOTS)
    await refused(rig, 1, of=SLOTS)


async def test_a_hold_tells_what_is_left_afterwards(rig: Rig) -> None:
    hold = await granted(rig, 1, 100, 1, of=ALL)
    assert [round(lack) for lack in hold.lacks] == [1_000_000, 1_000_000, 1]


async def test_what_costs_nothing_touches_nothing(rig: Rig) -> None:
    await granted(rig, 0, of=TOKENS)
    assert await lack_s(rig, TOKENS) == [0]


async def test_whoever_is_cancelled_has_taken_nothing(rig: Rig) -> None:
    async def take() -> None:
        hold = await granted(rig, 1, 100, 1, of=ALL)
        rig.store.settle(hold, [0, 0, 0])

    for turns in range(12):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    await rig.settled()
    # what was asked for and never sent is not answered either
    await granted(rig, 1, 100, 1, of=ALL)
    await rig.settled()
    assert await lack_s(rig, ALL) == [1, 1, 1e-6]


async def test_many_at_once_get_exactly_what_there_is(rig: Rig) -> None:
    verdicts: list[object] = []

    async def take() -> None:
        verdicts.append(await rig.store.take(claim(MINUTE, 1)))

    async with anyio.create_task_group() as tasks:
        for _ in range(700):
            tasks.start_soon(take)
    assert sum(isinstance(verdict, Hold) for verdict in verdicts) == 10


async def test_the_state_is_ok_and_nothing_is_pending(rig: Rig) -> None:
    await rig.settled()
    assert rig.store.state is StoreState.OK
    assert rig.store.pending == 0


async def test_the_books_are_kept(rig: Rig) -> None:
    usage = Usage("2026-11-25", "k", "m", 5, 2, 1)
    rig.store.record(usage)
    rig.store.record(usage)
