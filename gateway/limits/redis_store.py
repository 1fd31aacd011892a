"""Limits that all processes share, in Redis: exact while it answers, fair while it does not.

Requests that come together are decided together: one script call at a time, with everything that
has gathered since the last. Settlements wait a few milliseconds for company.

What Redis knows, this process knows a little too: after each answer it notes how far the touched
buckets are from full. When Redis is away the memory store goes on from there and each process
enforces its share (`local`), or everything passes (`allow`), or nothing (`deny`). When it is back
it is told what was spent meanwhile, and if it has lost its memory, what it should remember.

Nothing is lost or done twice: an operation whose answer did not come is given up for good
(`redis_link`), settlements are queued until they are answered and each hold is settled once, and
sums travel in numbered packets.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import ClassVar, Self, TypeVar, cast

import anyio

from gateway.clock import Clock
from gateway.errors import LimiterDown
from gateway.limits.bucket import Bucket
from gateway.limits.memory_store import MemoryStore
from gateway.limits.redis_batch import Batch, Results
from gateway.limits.redis_link import RedisLink, StoreAway
from gateway.limits.redis_outbox import Outbox
from gateway.limits.redis_reader import RedisReader
from gateway.limits.redis_seen import Seen
from gateway.limits.redis_work import Gathered, Look, Packet, Settlement, Take, Verdict, nothing
from gateway.limits.store import Claim, Hold, OpenHold, Refusal, StoreState, Usage
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics
from gateway.wakeup import Signal

log = logging.getLogger(__name__)

_MAX_BATCH = 256
_MAX_RENEWED = 1000
_GATHER_S = 0.005
_LEAST_TIMEOUT_S = 0.01
_PROBE_S = 0.05
_MAX_PROBE_S = 1.0
# opening a connection takes longer than a request may wait
_PROBE_TIMEOUT_S = 1.0
_CLOSE_S = 2.0

T = TypeVar("T")


class RedisStore:
    """A `LimitStore` in Redis. `local` is what stands in for it."""

    kind: ClassVar[str] = "redis"

    def __init__(
        self,
        link: RedisLink,
        local: MemoryStore,
        metrics: Metrics,
        clock: Clock,
        rng: random.Random,
        *,
        on_failure: StoreState,
        expected_processes: int | None,
        timeout_s: float,
        lease_s: float,
        close: Callable[[], Awaitable[None]],
        reader: RedisReader,
    ) -> None:
        """`expected_processes` None: those that Redis has seen. `close` closes the connections.

        `reader`: for the admin's view.
        """
        self.state = StoreState.OK
        self._link = link
        self._local = local
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._on_failure = on_failure
        self._expected_processes = expected_processes
        self._least_shares = local.shares
        self._close = close
        self._reader = reader
        self._timeout_s = timeout_s
        self._renew_every_s = lease_s / 3
        self._renew_at_s = 0.0
        self._renewals: deque[tuple[Bucket, str]] = deque()
        self._signal = Signal()
        self._settle_at_s: float | None = None
        self._takes: deque[Take] = deque()
        self._looks: deque[Look] = deque()
        self._outbox = Outbox()
        self._seen = Seen()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: dict[str, Hold] = {}
        self._numbers = 0

    @property
    def pending(self) -> int:
        """Settlements that Redis has not confirmed yet."""
        return len(self._outbox.settlements)

    # --- what requests do

    async def take(self, claim: Claim) -> Verdict:
        self._numbers += 1
        number = str(self._numbers)
        if self.state is not StoreState.OK:
            return self._without_redis(number, claim)
        loop = self._loop
        if loop is None:  # which takes Python 3.11 a system call to find
            loop = self._loop = asyncio.get_running_loop()
        told: asyncio.Future[Verdict] = loop.create_future()
        take = Take(number, claim, self._clock.now_s(), told)
        self._takes.append(take)
        self._signal.set()
        try:
            return await told
        except asyncio.CancelledError:
            # it may have been granted in this very turn; later is seen by whoever would tell
            if told.done() and not told.cancelled() and told.exception() is None:
                verdict = told.result()
                if isinstance(verdict, Hold):
                    self.settle(verdict, nothing(claim))
            raise

    def settle(self, hold: Hold, costs: Sequence[float]) -> None:
        if not hold.is_open:
            return
        hold.is_open = False
        self._open.pop(hold.id, None)
        if hold.is_local:
            self._outbox.came_home(hold)
            self._local.adjust(hold.claim, costs)
            self._outbox.spend(hold.claim, costs, [held for _, held in hold.claim])
            self._settle_soon()
        else:
            if self.state is not StoreState.OK:
                self._local.adjust(hold.claim, costs, weight=1)
            self._queue(Settlement(hold.id, hold.claim, costs))

    async def lacks(self, buckets: Sequence[Bucket]) -> Sequence[float]:
        if self.state is not StoreState.OK:
            return await self._local.lacks(buckets)
        look = Look(buckets)
        self._looks.append(look)
        self._signal.set()
        return await look.lacks

    def record(self, usage: Usage) -> None:
        self._outbox.record(usage)
        self._settle_soon()

    async def holds(self, slots: Bucket) -> Sequence[OpenHold]:
        if self.state is StoreState.OK:
            with contextlib.suppress(LimiterDown):
                return await self._reader.holds(slots)
        keys = (bucket.key for hold in self._open.values() for bucket, _ in hold.claim)
        return [OpenHold("", "", None) for key in keys if key == slots.key]

    async def usage(self, first_day: str, last_day: str, caller: str | None) -> Sequence[Usage]:
        return await self._reader.usage(first_day, last_day, caller)

    # --- what happens beside them

    async def __aenter__(self) -> Self:
        await self._recovered()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            while self._outbox:
                if not (await self._recovered() and await self._dispatch()):
                    await asyncio.sleep(_PROBE_S)
        if self.pending:
            log.error(F.SETTLEMENTS_LOST, extra={F.COUNT: self.pending})
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await self._close()

    async def run(self) -> None:
        pause_s = _PROBE_S
        while True:
            try:
                if self.state is StoreState.OK:
                    await self._signal.wait(self._next_s(), self._clock)
                    if await self._dispatch():
                        pause_s = _PROBE_S
                else:
                    await asyncio.sleep(self._rng.uniform(pause_s / 2, pause_s))
                    pause_s = min(_MAX_PROBE_S, pause_s * 2)
                    await self._recovered()
            except Exception:  # the task's outermost edge: limits go on without
                log.exception(F.BUG)
                self._lose("bug")
                await asyncio.sleep(_MAX_PROBE_S)

    def _next_s(self) -> float:
        """When there is something to send, if nothing comes before."""
        if self._renewals:
            return self._clock.now_s()
        due_s = self._renew_at_s
        return due_s if self._settle_at_s is None else min(due_s, self._settle_at_s)

    async def _dispatch(self) -> bool:
        """Send what has gathered, and tell everybody what came of it. Whether Redis answered."""
        now_s = self._clock.now_s()
        gathered = self._gather(now_s)
        if gathered is None:
            return True
        timeout_s = self._timeout_s
        if gathered.takes:  # who waited for the batch before has less time left for this one
            timeout_s = max(_LEAST_TIMEOUT_S, timeout_s - (now_s - gathered.takes[0].queued_s))
        results: Results | None = None
        reason: str | None = None
        try:
            results = await self._send(gathered, timeout_s)
        except StoreAway as away:
            reason = away.reason
        except Exception:  # whatever it was, somebody waits for an answer
            log.exception(F.BUG)
            reason = "bug"
        finally:
            if results is None:
                self._give_up(gathered, reason)
        if results is None:
            return False
        self._hand_out(gathered, results)
        return True

    def _gather(self, now_s: float) -> Gathered | None:
        """What is to be sent now, taken from the queues; None when there is nothing."""
        self._signal.clear()
        self._settle_at_s = None
        is_heartbeat = now_s >= self._renew_at_s
        if is_heartbeat:
            self._begin_renewal(now_s)
        batch = self._link.batch()
        packet = self._outbox.packet()
        if packet is not None:  # first: what is spent already counts for the takes
            packet.put_into(batch)
        settlements = _some(self._outbox.settlements, _MAX_BATCH)
        for settlement in settlements:
            batch.settle(settlement.number, settlement.claim, settlement.costs)
        takes = [take for take in _some(self._takes, _MAX_BATCH) if not take.verdict.done()]
        first_take = batch.count
        for take in takes:
            batch.take(take.number, take.claim)
        looks = _some(self._looks, _MAX_BATCH)
        for look in looks:
            batch.look(look.buckets)
        self._put_renewals(batch)
        if not batch.count and not is_heartbeat:
            return None
        return Gathered(batch, packet, settlements, takes, first_take, looks, is_heartbeat)

    def _hand_out(self, gathered: Gathered, results: Results) -> None:
        now_us = self._clock.now_s() * 1e6
        if gathered.packet is not None:
            self._delivered(gathered.packet, now_us)
        for settlement in gathered.settlements:
            if settlement.is_held:
                self._seen.settled(settlement.claim, settlement.costs, now_us)
        answers = iter(results[gathered.first_take :])
        for take in gathered.takes:
            self._decided(take, cast("list[float]", next(answers)), now_us)
        for look in gathered.looks:
            lacks = cast("list[float]", next(answers))
            if not look.lacks.done():
                look.lacks.set_result(lacks)
        if self.pending or self._takes or self._looks:
            self._signal.set()

    async def _send(self, gathered: Gathered, timeout_s: float) -> Results:
        """Raises StoreAway. A store that has lost its memory is told first."""
        began_s = self._clock.now_s()
        batch, is_heartbeat = gathered.batch, gathered.is_heartbeat
        reply = await self._link.send(batch, timeout_s, is_heartbeat=is_heartbeat)
        if reply.results is None:
            left_s = began_s + timeout_s - self._clock.now_s()
            await self._tell(left_s, gathered.settlements)
            left_s = began_s + timeout_s - self._clock.now_s()
            reply = await self._link.send(batch, left_s, is_heartbeat=is_heartbeat)
        if reply.results is None:
            raise StoreAway("restarted")
        self._metrics.store_round_trip.cell().observe(self._clock.now_s() - began_s)
        return reply.results

    def _decided(self, take: Take, result: "list[float]", now_us: float) -> None:
        refused, wait_us, *lacks = result
        self._seen.told(take.claim, lacks, now_us)
        if refused:
            if not take.verdict.done():
                take.verdict.set_result(Refusal(take.claim, lacks, int(refused) - 1, wait_us))
            return
        hold = Hold(take.number, take.claim, lacks)
        self._open[hold.id] = hold
        if take.verdict.done():  # whoever asked is gone
            self.settle(hold, nothing(take.claim))
        else:
            take.verdict.set_result(hold)

    # --- without Redis

    def _lose(self, reason: str) -> None:
        """Redis is away: from now on we do without."""
        self._metrics.store_failures.cell(reason).add()
        self._renew_at_s = 0.0
        if self.state is StoreState.OK:
            self.state = self._on_failure
            self._go_on_from_what_was_seen()
            log.warning(F.LIMIT_STORE, extra={F.STATE: self.state.value, F.REASON: reason})

    def _go_on_from_what_was_seen(self) -> None:
        alive = max(self._least_shares, self._link.alive)
        self._local.shares = self._expected_processes or alive
        slots = [b for hold in self._open.values() for b, _ in hold.claim if b.is_slots]
        self._local.begin(self._seen.lacks(self._now_us()), slots)
        for one in self._outbox.settlements:
            if one.is_held:  # its slots are not among them
                self._local.adjust_rates(one.claim, one.costs, weight=1)

    def _give_up(self, gathered: Gathered, reason: str | None) -> None:
        """A batch was not answered: what it held is done otherwise, or later.

        `reason` None: we are stopped, and Redis may be well.
        """
        self._outbox.put_back(gathered.settlements)
        for take in gathered.takes:
            # should Redis have granted it all the same
            costs = nothing(take.claim)
            self._queue(Settlement(take.number, take.claim, costs, is_held=False))
        if reason is None:
            self._go_on_from_what_was_seen()
        else:
            self._lose(reason)
        for take in (*gathered.takes, *_some(self._takes, len(self._takes))):
            if take.verdict.done():
                continue
            try:
                take.verdict.set_result(self._without_redis(self._another(), take.claim))
            except LimiterDown as down:
                take.verdict.set_exception(down)
        for look in (*gathered.looks, *_some(self._looks, len(self._looks))):
            if not look.lacks.done():
                look.lacks.set_result([self._local.lack(bucket) for bucket in look.buckets])

    def _without_redis(self, number: str, claim: Claim) -> Verdict:
        """Raises LimiterDown."""
        if self._on_failure is StoreState.DENY:
            raise LimiterDown("the limits cannot be checked now, try again", retry_after_s=1.0)
        verdict = self._local.decide(claim, is_forced=self._on_failure is StoreState.ALLOW)
        if isinstance(verdict, Refusal):
            return verdict
        hold = Hold(number, claim, verdict.lacks, is_local=True)
        self._open[number] = hold
        self._outbox.stray(hold)
        self._outbox.spend(claim, [cost for _, cost in claim], nothing(claim))
        self._settle_soon()
        return hold

    async def _recovered(self) -> bool:
        """Whether Redis answers again. What was done without it goes before the next take."""
        try:
            reply = await self._link.send(self._link.batch(), _PROBE_TIMEOUT_S)
            if reply.results is None:
                await self._tell(_PROBE_TIMEOUT_S)
            await self._deliver()
        except StoreAway as away:
            self._lose(away.reason)
            return False
        if self.state is not StoreState.OK:
            self.state = StoreState.OK
            log.warning(F.LIMIT_STORE, extra={F.STATE: self.state.value})
        self._signal.set()
        return True

    async def _deliver(self) -> None:
        """What was spent without Redis, which may be much. Raises StoreAway."""
        packet = self._outbox.packet()
        if packet is not None:
            batch = self._link.batch()
            packet.put_into(batch)
            if (await self._link.send(batch, _PROBE_TIMEOUT_S)).results is None:
                raise StoreAway("restarted")
            self._delivered(packet, self._now_us())

    async def _tell(self, timeout_s: float, settlements: Sequence[Settlement] = ()) -> None:
        """Tell a store without memory what this process knows. Raises StoreAway.

        `settlements`: those on their way, which are in no queue.
        """
        batch = self._link.batch()
        batch.at_least(self._seen.lacks(self._now_us()))
        batch.keep_open(number for number, hold in self._open.items() if not hold.is_local)
        queued = (*settlements, *self._outbox.settlements)
        batch.keep_open(one.number for one in queued if one.is_held)
        numbers: dict[str, list[str]] = {}
        for bucket, number in self._slots_held():
            self._seen.slot(bucket)
            numbers.setdefault(bucket.key, []).append(number)
        for bucket in self._seen.slots():  # where it has none left, too
            batch.keep_slots(bucket, numbers.get(bucket.key, ()))
        await self._link.send(batch, timeout_s, is_telling=True)

    def _delivered(self, packet: Packet, now_us: float) -> None:
        self._outbox.delivered()
        for bucket, units in packet.spent.items():
            self._seen.change(bucket, units, now_us)
        for hold in packet.holds:
            hold.is_local = False
            if not hold.is_open:  # it was settled meanwhile, and that is counted: only close it
                self._queue(Settlement(hold.id, hold.claim, [held for _, held in hold.claim]))

    # --- queues

    def _now_us(self) -> float:
        return self._clock.now_s() * 1e6

    def _another(self) -> str:
        self._numbers += 1
        return str(self._numbers)

    def _queue(self, settlement: Settlement) -> None:
        if not self._outbox.settle(settlement):
            self._metrics.settlements_dropped.cell().add()
        self._settle_soon()

    def _settle_soon(self) -> None:
        if self._settle_at_s is None:
            self._settle_at_s = self._clock.now_s() + _GATHER_S
            self._signal.nudge()

    def _slots_held(self) -> Iterator[tuple[Bucket, str]]:
        """The slots that Redis has given us."""
        for number, hold in self._open.items():
            if not hold.is_local:
                yield from ((bucket, number) for bucket, _ in hold.claim if bucket.is_slots)

    def _begin_renewal(self, now_s: float) -> None:
        self._renew_at_s = now_s + self._renew_every_s
        self._renewals = deque(self._slots_held())
        self._seen.renewed((bucket for bucket, _ in self._renewals), now_s * 1e6)

    def _put_renewals(self, batch: Batch) -> None:
        for bucket, number in _some(self._renewals, _MAX_RENEWED):
            if number in self._open:
                batch.keep_slots(bucket, (number,))


def _some(queue: deque[T], most: int) -> list[T]:
    """The first of a queue, taken out."""
    return [queue.popleft() for _ in range(min(most, len(queue)))]
