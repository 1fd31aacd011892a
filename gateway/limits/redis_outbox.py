"""What Redis has to be told, and has not confirmed yet. No I/O.

Settlements wait here until they are answered, and so do sums: what was spent without Redis, and
the books. Sums go in numbered packets, so that each counts once, however often it is sent.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from gateway.limits.books import Books
from gateway.limits.redis_work import Packet, Settlement
from gateway.limits.store import Claim, Hold, Usage

if TYPE_CHECKING:
    from gateway.limits.bucket import Bucket

MAX_SETTLEMENTS: Final = 100_000


class Outbox:
    """Everything that would be lost if it were forgotten."""

    def __init__(self) -> None:
        self.settlements: deque[Settlement] = deque()
        self._spent: dict[Bucket, float] = {}
        self._books = Books()
        self._strays: dict[str, Hold] = {}
        self._packets = 0
        self._packet: Packet | None = None

    def __bool__(self) -> bool:
        return bool(self.settlements or self._packet or self._has_sums())

    def settle(self, settlement: Settlement) -> bool:
        """False: there were too many, and the oldest is forgotten.

        Its tokens stay held: too few are let in, never too many.
        """
        is_full = len(self.settlements) >= MAX_SETTLEMENTS
        if is_full:
            self.settlements.popleft()
        self.settlements.append(settlement)
        return not is_full

    def put_back(self, settlements: Sequence[Settlement]) -> None:
        """They were sent and not answered."""
        self.settlements.extendleft(reversed(settlements))

    def spend(self, claim: Claim, costs: Iterable[float], told: Iterable[float]) -> None:
        """What is spent without Redis, beyond what it is told already."""
        for (bucket, _), cost, before in zip(claim, costs, told, strict=True):
            if not bucket.is_slots and cost != before:
                self._spent[bucket] = self._spent.get(bucket, 0.0) + cost - before

    def record(self, usage: Usage) -> None:
        self._books.add(usage)

    def stray(self, hold: Hold) -> None:
        """A hold that Redis does not know of."""
        self._strays[hold.id] = hold

    def came_home(self, hold: Hold) -> None:
        """It need not know of it any more."""
        self._strays.pop(hold.id, None)

    def packet(self) -> Packet | None:
        """The sums that are to be sent now: those not answered yet come first."""
        if self._packet is None and self._has_sums():
            self._packets += 1
            holds = list(self._strays.values())
            self._packet = Packet(self._packets, self._spent, self._books, holds)
            self._spent, self._books, self._strays = {}, Books(), {}
        return self._packet

    def delivered(self) -> None:
        """The packet was answered."""
        self._packet = None

    def _has_sums(self) -> bool:
        return bool(self._spent or self._books or self._strays)
