"""Limits of one process: exact, without a round trip.

With `shares` it is one of several processes that cannot ask each other, and each enforces its
part of every limit. A bucket of a quarter of the rate with a quarter of the burst is as far from
full as the whole one where each unit counts four times; so nothing else has to be converted, and
what is known of the whole bucket (`begin`) can be continued with.
"""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import ClassVar, Self

import anyio

from gateway.clock import Clock
from gateway.limits.books import Books, in_range
from gateway.limits.bucket import ROUNDING_US, Bucket, lack_after_us
from gateway.limits.store import Claim, Hold, OpenHold, Refusal, StoreState, Usage

_PRUNE_EVERY = 4096


class MemoryStore:
    """A `LimitStore` in this process's memory."""

    kind: ClassVar[str] = "memory"

    def __init__(self, clock: Clock, *, shares: int = 1) -> None:
        self.state = StoreState.OK
        self.pending = 0
        self.books = Books()
        self._now_s = clock.now_s
        self.shares = shares
        self._full_at_us: dict[str, float] = {}
        self._slots: dict[str, int] = {}
        self._takes = 0

    async def take(self, claim: Claim) -> Hold | Refusal:
        return self.decide(claim)

    def decide(self, claim: Claim, *, is_forced: bool = False) -> Hold | Refusal:
        """`take`, at once. `is_forced`: granted in any case, and counted."""
        # written out: this runs for every request
        now_us = self._now_s() * 1e6
        shares = self.shares
        index, wait_us = -1, 0.0
        lacks: list[float] = []
        for number, (bucket, cost) in enumerate(claim):
            if bucket.is_slots:
                taken = self._slots.get(bucket.key, 0)
                lacks.append(taken)
                if index < 0 and taken >= max(1, bucket.limit // shares):
                    index = number
                continue
            lack_us = self._full_at_us.get(bucket.key, 0.0) - now_us
            if lack_us < 0.0:
                lack_us = 0.0
            lacks.append(lack_us)
            counted = cost
            if shares != 1:
                # a share may be smaller than a request, which a full bucket must serve all the same
                counted = min(cost * shares, max(cost, bucket.burst))
            over = lack_us + counted * bucket.interval_us - bucket.capacity_us
            if over > wait_us and over > ROUNDING_US:
                index, wait_us = number, over
        if index >= 0 and not is_forced:
            return Refusal(claim, lacks, index, wait_us)
        self._grant(claim, lacks, now_us)
        return Hold("", claim, lacks)

    def _grant(self, claim: Claim, lacks: list[float], now_us: float) -> None:
        """Take a claim; `lacks` become those afterwards."""
        for number, (bucket, cost) in enumerate(claim):
            if bucket.is_slots:
                lacks[number] += 1
                self._slots[bucket.key] = int(lacks[number])
            elif cost:
                lacks[number] += cost * self.shares * bucket.interval_us
                self._full_at_us[bucket.key] = now_us + lacks[number]
        self._takes += 1
        if self._takes % _PRUNE_EVERY == 0:
            self._prune(now_us)

    def settle(self, hold: Hold, costs: Sequence[float]) -> None:
        if not hold.is_open:
            return
        hold.is_open = False
        self.adjust(hold.claim, costs)

    def adjust(self, claim: Claim, costs: Sequence[float], *, weight: int | None = None) -> None:
        """Free the claim's slots, and count what differs between its costs and these.

        `weight`: how often a unit counts; by default as often as when it was taken here.
        """
        for bucket, _ in claim:
            if bucket.is_slots:
                self.free_slot(bucket)
        self.adjust_rates(claim, costs, weight=self.shares if weight is None else weight)

    def adjust_rates(self, claim: Claim, costs: Sequence[float], *, weight: int) -> None:
        """The same without the slots."""
        now_us = self._now_s() * 1e6
        for (bucket, held), cost in zip(claim, costs, strict=True):
            if cost != held and not bucket.is_slots:
                lack_us = max(0.0, self._full_at_us.get(bucket.key, 0.0) - now_us)
                units = (cost - held) * weight
                self._full_at_us[bucket.key] = now_us + lack_after_us(bucket, lack_us, units)

    def free_slot(self, bucket: Bucket) -> None:
        slots = self._slots.get(bucket.key, 0) - 1
        if slots > 0:
            self._slots[bucket.key] = slots
        else:
            self._slots.pop(bucket.key, None)

    def begin(self, lacks: Iterable[tuple[Bucket, float]], slots: Iterable[Bucket]) -> None:
        """Go on from what is known of the whole buckets, and from slots granted elsewhere."""
        now_us = self._now_s() * 1e6
        self._full_at_us = {bucket.key: now_us + lack_us for bucket, lack_us in lacks}
        self._slots = {}
        for bucket in slots:
            self._slots[bucket.key] = self._slots.get(bucket.key, 0) + 1

    async def lacks(self, buckets: Sequence[Bucket]) -> Sequence[float]:
        return [self.lack(bucket) for bucket in buckets]

    def lack(self, bucket: Bucket) -> float:
        if bucket.is_slots:
            return self._slots.get(bucket.key, 0)
        return max(0.0, self._full_at_us.get(bucket.key, 0.0) - self._now_s() * 1e6)

    def record(self, usage: Usage) -> None:
        self.books.add(usage)

    async def holds(self, slots: Bucket) -> Sequence[OpenHold]:
        return [OpenHold("", "", None)] * self._slots.get(slots.key, 0)

    async def usage(self, first_day: str, last_day: str, caller: str | None) -> Sequence[Usage]:
        return in_range(self.books.entries(), first_day, last_day, caller)

    async def run(self) -> None:
        await anyio.sleep_forever()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def _prune(self, now_us: float) -> None:
        """A full bucket is as good as one that was never touched."""
        full = [key for key, full_at_us in self._full_at_us.items() if full_at_us <= now_us]
        for key in full:
            del self._full_at_us[key]
