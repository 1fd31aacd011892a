"""What Redis knew when it last answered: for a Redis that comes back with less. Pure.

Its buckets as this process saw them last, and where it gave us slots of late, which an older
memory may still hold.
"""

from collections.abc import Iterable, Iterator, Sequence

from gateway.limits.bucket import Bucket, lack_after_us
from gateway.limits.store import Claim


class Seen:
    """Times are in us on this process's steady clock."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._full_at_us: dict[str, float] = {}
        # since the last renewal, and since the one before
        self._slots: dict[str, Bucket] = {}
        self._slots_before: dict[str, Bucket] = {}

    def told(self, claim: Claim, lacks: Sequence[float], now_us: float) -> None:
        """What Redis said of the buckets of a claim."""
        for (bucket, _), lack in zip(claim, lacks, strict=True):
            if bucket.is_slots:
                self._slots[bucket.key] = bucket
            else:
                self._buckets[bucket.key] = bucket
                self._full_at_us[bucket.key] = now_us + lack

    def settled(self, claim: Claim, costs: Sequence[float], now_us: float) -> None:
        """Redis has replaced a claim by these costs."""
        for (bucket, held), cost in zip(claim, costs, strict=True):
            if cost != held:
                self.change(bucket, cost - held, now_us)

    def change(self, bucket: Bucket, units: float, now_us: float) -> None:
        """Redis has counted so many more."""
        if not bucket.is_slots:
            lack_us = max(0.0, self._full_at_us.get(bucket.key, 0.0) - now_us)
            self._buckets[bucket.key] = bucket
            self._full_at_us[bucket.key] = now_us + lack_after_us(bucket, lack_us, units)

    def slot(self, bucket: Bucket) -> None:
        """Redis gave us one there."""
        self._slots[bucket.key] = bucket

    def lacks(self, now_us: float) -> Iterator[tuple[Bucket, float]]:
        """Of every bucket that is not full."""
        for key, full_at_us in self._full_at_us.items():
            if full_at_us > now_us:
                yield self._buckets[key], full_at_us - now_us

    def slots(self) -> Iterable[Bucket]:
        """Where slots were held of late."""
        return (self._slots_before | self._slots).values()

    def renewed(self, slots: Iterable[Bucket], now_us: float) -> None:
        """These hold slots now. What is too old to matter is forgotten."""
        self._slots_before = self._slots
        self._slots = {bucket.key: bucket for bucket in slots}
        self._buckets = {bucket.key: bucket for bucket, _ in self.lacks(now_us)}
        self._full_at_us = {key: self._full_at_us[key] for key in self._buckets}
