"""What Redis knew when it last answered: for a Redis that comes back with less. Pure.

Its buckets as this process saw them last, and where it gave us slots of late, which an older
memory may still hold.
"""

from collections.abc import Iterable, Iterator

from gateway.limits.bucket import Bucket, lack_after_us


class Seen:
    """Times are in us on this process's steady clock."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._full_at_us: dict[str, float] = {}
        # since the last renewal, and since the one before
        self._slots: dict[str, Bucket] = {}
        self._slots_before: dict[str, Bucket] = {}

    def note(self, bucket: Bucket, lack_us: float, now_us: float) -> None:
        """Redis said so."""
        self._buckets[bucket.key] = bucket
        self._full_at_us[bucket.key] = now_us + lack_us

    def change(self, bucket: Bucket, units: float, now_us: float) -> None:
        """Redis has counted so many more."""
        if units and not bucket.is_slots:
            lack_us = max(0.0, self._full_at_us.get(bucket.key, 0.0) - now_us)
            self.note(bucket, lack_after_us(bucket, lack_us, units), now_us)

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
