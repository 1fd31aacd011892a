"""What is on its way to Redis: takes, settlements, looks and packets of sums."""

import asyncio
from collections.abc import Sequence

from gateway.limits.books import Books
from gateway.limits.bucket import Bucket
from gateway.limits.redis_batch import Batch
from gateway.limits.store import Claim, Hold, Refusal

Verdict = Hold | Refusal


class Take:
    """A claim that somebody waits for; `queued_s` is since when."""

    __slots__ = ("claim", "number", "queued_s", "verdict")

    def __init__(
        self, number: str, claim: Claim, queued_s: float, verdict: "asyncio.Future[Verdict]"
    ) -> None:
        self.number = number
        self.claim = claim
        self.queued_s = queued_s
        self.verdict = verdict


class Settlement:
    """`is_held`: it was granted for certain; else it is taken back in case it was."""

    __slots__ = ("claim", "costs", "is_held", "number")

    def __init__(
        self, number: str, claim: Claim, costs: Sequence[float], *, is_held: bool = True
    ) -> None:
        self.number = number
        self.claim = claim
        self.costs = costs
        self.is_held = is_held


class Packet:
    """Sums on their way; sent again under the same number until they are answered.

    `holds` are those whose cost is among what was spent: from then on they are Redis's.
    """

    def __init__(
        self, number: int, spent: dict[Bucket, float], books: Books, holds: Sequence[Hold]
    ) -> None:
        self.number = number
        self.spent = spent
        self.books = books
        self.holds = holds

    def put_into(self, batch: Batch) -> None:
        batch.packet(self.number, self.spent.items(), self.books.entries())
        batch.keep_open(hold.id for hold in self.holds)
        for hold in self.holds:
            for bucket, _ in hold.claim:
                if bucket.is_slots:
                    batch.keep_slots(bucket, (hold.id,))


class Look:
    """Buckets that somebody wants to see."""

    __slots__ = ("buckets", "lacks")

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self.buckets = buckets
        self.lacks: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()


class Gathered:
    """What goes to Redis at one time; `first_take` is where the takes are among its results."""

    def __init__(
        self,
        batch: Batch,
        packet: Packet | None,
        settlements: Sequence[Settlement],
        takes: Sequence[Take],
        first_take: int,
        looks: Sequence[Look],
        is_heartbeat: bool,
    ) -> None:
        self.batch = batch
        self.packet = packet
        self.settlements = settlements
        self.takes = takes
        self.first_take = first_take
        self.looks = looks
        self.is_heartbeat = is_heartbeat


def nothing(claim: Claim) -> list[float]:
    """The costs of a claim that came to nothing."""
    return [0.0] * len(claim)
