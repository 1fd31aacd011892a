"""How the store queues, gives up and comes back. What it decides is held to the contract."""

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from redis import exceptions

from gateway.clock import SystemClock
from gateway.errors import LimiterDown
from gateway.limits import redis_store
from gateway.limits.memory_store import MemoryStore
from gateway.limits.redis_link import RedisLink
from gateway.limits.redis_reader import RedisReader
from gateway.limits.redis_store import RedisStore
from gateway.limits.store import Hold, Refusal, StoreState, Usage
from gateway.redis_connect import connect, read_address
from gateway.telemetry.metrics import Metrics
from tests.support.counted import counted
from tests.support.limit_stores import buckets, claim
from tests.support.running import until

RATE = buckets(requests_per_minute=60, burst={"requests_per_minute": 2})
SLOTS = buckets(concurrent_requests=1)
BOTH = (*RATE, *SLOTS)
TAKE, SETTLE, LOOK, KEEP, AT_LEAST, PACKET = range(1, 7)
AWAY = exceptions.ConnectionError("away")


class Bench:
    """A store on a server that grants everything, unless `failure` says how it fails."""

    def __init__(
        self,
        on_failure: StoreState = StoreState.LOCAL,
        timeout_s: float = 5.0,
        expected_processes: int | None = None,
    ) -> None:
        self.failure: Exception | None = None
        self.birth = "b1"
        self.alive = 1
        self.is_hanging = False
        self.batches: list[list[Any]] = []
        self.metrics = Metrics()
        self.closed = 0
        clock = SystemClock()
        self.local = MemoryStore(clock)
        self.store = RedisStore(
            RedisLink(self, clock, prefix="", lease_s=30),
            self.local,
            self.metrics,
            clock,
            random.Random(0),
            on_failure=on_failure,
            expected_processes=expected_processes,
            timeout_s=timeout_s,
            lease_s=30,
            close=self._close,
            reader=RedisReader(connect(read_address("redis://127.0.0.1:9")), ""),
        )

    async def _close(self) -> None:
        self.closed += 1

    async def __call__(self, keys: Sequence[str], arguments: Sequence[bytes]) -> bytes:
        batch = msgspec.msgpack.decode(arguments[0])
        if self.is_hanging:
            await asyncio.sleep(60)
        if self.failure is not None:
            raise self.failure
        if batch[1] not in ("", self.birth) and not batch[7]:
            return msgspec.msgpack.encode(["0", self.birth])
        self.batches.append(batch)
        return msgspec.msgpack.encode(
            ["0", self.birth, [self._done(op) for op in batch[5]], 1, self.alive]
        )

    def _done(self, op: list[Any]) -> Any:
        match op[0]:
            case 1:
                return [0, 0, *[1.0 for _ in op[2::2]]]
            case 3:
                return [7.0 for _ in op[1:]]
            case _:
                return 1

    def ops(self, *kinds: int) -> list[list[Any]]:
        """What was asked, of these kinds."""
        return [op for batch in self.batches for op in batch[5] if op[0] in kinds]


@asynccontextmanager
async def opened(*given: Any, **more: Any) -> AsyncIterator[Bench]:
    bench = Bench(*given, **more)
    async with bench.store, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.store.run)
        yield bench
        tasks.cancel_scope.cancel()
    assert bench.closed == 1


async def test_calls_that_come_together_are_asked_together() -> None:
    async with opened() as bench:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(bench.store.take, claim(RATE, 1))
        (batch,) = [batch for batch in bench.batches if any(op[0] == TAKE for op in batch[5])]
        assert len(batch[5]) == 20


async def test_settlements_wait_a_little_for_company() -> None:
    async with opened() as bench:
        holds = [await bench.store.take(claim(RATE, 1)) for _ in range(3)]
        before = len(bench.batches)
        for hold in holds:
            assert isinstance(hold, Hold)
            bench.store.settle(hold, [1])
        assert bench.store.pending == 3
        await until(lambda: not bench.store.pending, 5)
        assert len(bench.batches) == before + 1


async def test_while_redis_is_away_this_process_decides(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as bench:
        bench.failure = AWAY
        verdicts = [await bench.store.take(claim(RATE, 1)) for _ in range(3)]
        assert [type(verdict) for verdict in verdicts] == [Hold, Hold, Refusal]
        assert bench.store.state is StoreState.LOCAL
        (lack,) = await bench.store.lacks(RATE)
        assert lack == pytest.approx(2e6, rel=0.1)
        bench.failure = None
        await until(lambda: bench.store.state is StoreState.OK, 5)
        await until(lambda: bool(bench.ops(PACKET)), 5)
        (packet,) = bench.ops(PACKET)
        assert packet[2] == [1, 2.0], "two units were spent meanwhile"
    states = [vars(record)["state"] for record in caplog.records]
    assert states == ["local", "ok"]
    assert vars(caplog.records[0])["reason"] == "unreachable"
    failures = counted(bench.metrics, "gateway_limit_store_failures", "reason")
    assert set(failures) == {"unreachable"}


async def test_everything_may_pass_while_redis_is_away() -> None:
    async with opened(StoreState.ALLOW) as bench:
        bench.failure = AWAY
        for _ in range(5):
            assert isinstance(await bench.store.take(claim(BOTH, 1, 1)), Hold)
        assert bench.store.state is StoreState.ALLOW


async def test_nothing_may_pass_while_redis_is_away() -> None:
    async with opened(StoreState.DENY) as bench:
        bench.failure = AWAY
        for _ in range(2):
            with pytest.raises(LimiterDown) as down:
                await bench.store.take(claim(RATE, 1))
            assert down.value.retry_after_s == 1
        assert bench.store.state is StoreState.DENY


async def test_a_take_without_an_answer_is_taken_back_later() -> None:
    async with opened(timeout_s=0.02) as bench:
        bench.is_hanging = True
        hold = await bench.store.take(claim(RATE, 1))
        assert isinstance(hold, Hold)
        assert hold.is_local
        bench.is_hanging = False
        await until(lambda: bool(bench.ops(SETTLE)), 5)
        assert bench.ops(SETTLE) == [[SETTLE, "1", 1, -1.0]]
        assert bench.batches[-1][0] > 1, "a higher epoch"


async def test_a_hold_of_before_is_settled_when_redis_is_back() -> None:
    async with opened() as bench:
        hold = await bench.store.take(claim(BOTH, 1, 1))
        assert isinstance(hold, Hold)
        bench.failure = AWAY
        await bench.store.take(claim(RATE, 1))
        bench.store.settle(hold, [0, 1])
        assert bench.store.pending >= 1
        bench.failure = None
        await until(lambda: not bench.store.pending, 5)
        assert [SETTLE, "1", 1, -1.0, 2, 0.0] in [
            [*op[:2], 1, op[3], 2, op[5]] for op in bench.ops(SETTLE) if len(op) == 6
        ]


async def test_a_hold_from_without_redis_becomes_one_of_redis() -> None:
    async with opened() as bench:
        bench.failure = AWAY
        open_one = await bench.store.take(claim(BOTH, 1, 1))
        closed = await bench.store.take(claim(RATE, 1))
        assert isinstance(open_one, Hold)
        assert isinstance(closed, Hold)
        bench.store.settle(closed, [0])
        bench.failure = None
        await until(lambda: bool(bench.ops(KEEP)), 5)
        assert not open_one.is_local
        kept = bench.ops(KEEP)
        assert [KEEP, 0, open_one.id] in kept
        assert any(op[1] and op[2] == open_one.id for op in kept), "its slot"
        bench.store.settle(open_one, [1, 1])
        await until(lambda: not bench.store.pending, 5)
        assert any(op[1] == open_one.id for op in bench.ops(SETTLE))


async def test_a_hold_that_is_settled_while_it_is_handed_over_is_closed_there() -> None:
    bench = Bench()
    bench.failure = AWAY
    async with bench.store:
        hold = await bench.store.take(claim(BOTH, 1, 1))
        assert isinstance(hold, Hold)
        packet = bench.store._next_packet()
        assert packet is not None
        bench.store.settle(hold, [0, 1])
        bench.failure = None
    assert [SETTLE, hold.id, 1, 0.0, 2, 0.0] in bench.ops(SETTLE)
    spent = [op[2] for op in bench.ops(PACKET)]
    assert spent == [[1, 1.0], [1, -1.0]]


async def test_a_redis_that_has_forgotten_is_told() -> None:
    async with opened() as bench:
        hold = await bench.store.take(claim(BOTH, 1, 1))
        assert isinstance(hold, Hold)
        settled = await bench.store.take(claim(RATE, 1))
        assert isinstance(settled, Hold)
        bench.birth = "b2"
        bench.store.settle(settled, [1])
        await bench.store.take(claim(RATE, 1))
        (told,) = [batch for batch in bench.batches if batch[7]]
        assert [op[0] for op in told[5]] == [AT_LEAST, KEEP, KEEP, KEEP]
        assert [KEEP, 0, hold.id] in told[5]
        assert [KEEP, 0, settled.id] in told[5]


async def test_a_redis_that_forgets_again_and_again_is_done_without() -> None:
    async with opened() as bench:
        births = map("b{}".format, itertools.count(2))
        link = bench.store._link
        send = link.send

        async def forgetful(*given: Any, **more: Any) -> Any:
            bench.birth = next(births)
            return await send(*given, **more)

        link.send = forgetful  # type: ignore[method-assign]
        assert isinstance(await bench.store.take(claim(RATE, 1)), Hold)
        assert counted(bench.metrics, "gateway_limit_store_failures", "reason")["restarted"]


async def test_more_settlements_than_can_be_kept_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_store, "MAX_QUEUED_SETTLEMENTS", 3)
    bench = Bench()
    async with bench.store:
        for number in range(5):
            bench.store.settle(Hold(str(number), claim(RATE, 1), [1.0]), [1])
        assert bench.store.pending == 3
        assert bench.metrics.settlements_dropped.cell().value == 2
    assert [op[1] for op in bench.ops(SETTLE)] == ["2", "3", "4"]


async def test_what_cannot_be_settled_at_the_end_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_store, "_CLOSE_S", 0.05)
    bench = Bench()
    async with bench.store:
        bench.store.settle(Hold("9", claim(RATE, 1), [1.0]), [1])
        bench.failure = AWAY
    (lost,) = [record for record in caplog.records if record.message == "settlements_lost"]
    assert vars(lost)["count"] == 1


async def test_a_bug_costs_one_round_and_not_the_gateway(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with opened() as bench:
        bench.failure = RuntimeError("a bug")
        assert isinstance(await bench.store.take(claim(RATE, 1)), Hold)
        await until(lambda: any(r.message == "bug" for r in caplog.records), 5)
        bench.failure = None
        await until(lambda: bench.store.state is StoreState.OK, 5)


async def test_leases_of_slots_are_renewed_while_their_holds_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_store, "_MAX_RENEWED", 2)
    async with opened() as bench:
        holds = [await bench.store.take(claim(SLOTS, 1)) for _ in range(5)]
        assert isinstance(holds[0], Hold)
        bench.store.settle(holds[0], [1])
        bench.store._renew_at_s = 0
        bench.store._signal.nudge()
        await until(lambda: len(bench.ops(KEEP)) == 4, 5)
        kept = [op[2] for op in bench.ops(KEEP)]
        assert kept == [hold.id for hold in holds[1:] if isinstance(hold, Hold)]


async def test_looks_and_books() -> None:
    async with opened() as bench:
        assert await bench.store.lacks(RATE) == [7]
        bench.store.record(Usage("2026-11-25", "k", "m", 5))
        await until(lambda: bool(bench.ops(PACKET)), 5)
        assert bench.ops(PACKET)[0][2:] == [
            [],
            [[1, "k\tm\tinput_tokens", 5], [1, "k\tm\trequests", 1]],
        ]


async def test_whoever_looks_while_redis_goes_away_sees_what_we_know() -> None:
    async with opened() as bench:
        bench.failure = AWAY
        assert await bench.store.lacks(RATE) == [0]


async def test_whoever_leaves_while_asking_has_taken_nothing() -> None:
    async with opened() as bench:
        for turns in range(8):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.store.take, claim(BOTH, 1, 1))
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        await until(lambda: not bench.store.pending, 5)
        taken = {op[1] for op in bench.ops(TAKE)}
        settled = {op[1] for op in bench.ops(SETTLE)}
        granted = taken - settled
        assert set(bench.store._open) == granted
        for hold in list(bench.store._open.values()):
            bench.store.settle(hold, [0, 0])
        assert bench.local.lack(SLOTS[0]) == 0


@pytest.mark.parametrize("is_granted", [True, False])
async def test_whoever_leaves_in_the_turn_of_the_answer_has_taken_nothing(
    is_granted: bool,
) -> None:
    bench = Bench()
    some = claim(RATE, 1)
    task = asyncio.get_running_loop().create_task(bench.store.take(some))
    await anyio.lowlevel.checkpoint()
    (take,) = bench.store._takes
    hold = Hold("1", some, [1.0])
    take.verdict.set_result(hold if is_granted else Refusal(some, [1.0], 0, 1.0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hold.is_open is not is_granted
    assert bench.store.pending == int(is_granted)


async def test_whoever_leaves_in_the_turn_of_a_failure_leaves() -> None:
    bench = Bench()
    task = asyncio.get_running_loop().create_task(bench.store.take(claim(RATE, 1)))
    await anyio.lowlevel.checkpoint()
    bench.store._takes[0].verdict.set_exception(LimiterDown("down"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("expected", "granted"), [(None, 3), (2, 6), (12, 1)])
async def test_without_redis_limits_are_shared_among_those_who_lived(
    expected: int | None, granted: int
) -> None:
    some = buckets(requests_per_minute=60, burst={"requests_per_minute": 12})
    bench = Bench(expected_processes=expected)
    bench.alive = 4
    async with bench.store, anyio.create_task_group() as tasks:
        tasks.start_soon(bench.store.run)
        await until(lambda: bool(bench.batches), 5)
        await until(lambda: bench.store._link.alive == 4, 5)
        bench.failure = AWAY
        verdicts = [await bench.store.take(claim(some, 1)) for _ in range(13)]
        assert sum(isinstance(verdict, Hold) for verdict in verdicts) == granted
        bench.failure = None
        tasks.cancel_scope.cancel()
