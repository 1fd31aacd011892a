"""What limits mean, without floats, clocks, keys or queues: what every store is held to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from gateway.limits.bucket import Bucket
from gateway.limits.store import Claim

# closer than this to the edge, rounding may fall to either side
EDGE = Fraction(1, 1000)


@dataclass(slots=True)
class Level:
    """Units in one bucket: it fills up steadily, and holds its burst at most."""

    bucket: Bucket
    units: Fraction
    seen: Fraction = Fraction(0)

    def fill(self, now: Fraction) -> None:
        gained = (now - self.seen) * self.bucket.limit / self.bucket.period_s
        self.units = min(Fraction(self.bucket.burst), self.units + gained)
        self.seen = now


@dataclass(slots=True)
class Oracle:
    """Exact limits. `now` in seconds; slots are sets of holds with the end of their leases."""

    now: Fraction = Fraction(0)
    levels: dict[str, Level] = field(default_factory=dict)
    slots: dict[str, dict[object, Fraction | None]] = field(default_factory=dict)

    def take(self, hold: object, claim: Claim) -> tuple[bool, bool]:
        """Whether it is granted, and whether that is beyond doubt. Nothing is taken yet."""
        is_granted, is_certain = True, True
        for bucket, cost in claim:
            if bucket.is_slots:
                is_granted &= len(self.held(bucket)) < bucket.limit
                continue
            spare = self.level(bucket).units - Fraction(cost)
            is_certain &= abs(spare) > EDGE or spare == 0
            is_granted &= spare >= 0
        return is_granted, is_certain

    def took(self, hold: object, claim: Claim) -> None:
        for bucket, cost in claim:
            if bucket.is_slots:
                self.held(bucket)[hold] = None
            else:
                self.level(bucket).units -= Fraction(cost)

    def settle(self, hold: object, claim: Claim, costs: list[float]) -> None:
        for (bucket, held), cost in zip(claim, costs, strict=True):
            if bucket.is_slots:
                self.held(bucket).pop(hold, None)
                continue
            level = self.level(bucket)
            more = Fraction(cost) - Fraction(held)
            if more > 0:
                level.units = min(level.units, max(level.units - more, Fraction(-bucket.burst)))
            else:
                level.units = min(Fraction(bucket.burst), level.units - more)

    def die(self, holds: Sequence[object], lease_s: float) -> None:
        """The process of these holds is gone: their slots come free with their leases."""
        for slots in self.slots.values():
            for hold in holds:
                if hold in slots:
                    slots[hold] = self.now + Fraction(lease_s)

    def level(self, bucket: Bucket) -> Level:
        level = self.levels.setdefault(bucket.key, Level(bucket, Fraction(bucket.burst), self.now))
        level.fill(self.now)
        return level

    def held(self, bucket: Bucket) -> dict[object, Fraction | None]:
        slots = self.slots.setdefault(bucket.key, {})
        for hold in [hold for hold, end in slots.items() if end is not None and end <= self.now]:
            del slots[hold]
        return slots

    def lack_us(self, bucket: Bucket) -> float:
        """As a store tells it."""
        if bucket.is_slots:
            return len(self.held(bucket))
        missing = bucket.burst - self.level(bucket).units
        return float(missing * bucket.period_s * 1_000_000 / bucket.limit)
