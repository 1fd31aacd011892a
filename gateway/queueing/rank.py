"""The waiting calls of one priority, and whose turn it is among them. Pure.

Of all callers the one that was served least is next, and of its calls the one that came first.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from gateway.config.access import Priority
from gateway.queueing.counters import Counters, Tally
from gateway.wire.prefix import NO_PREFIX, Prefix


class Waiter:
    """A waiting call. `cost`: what it is predicted to take, in weighted tokens.

    `is_first`: it had a place before. `tried`: the replicas, by name, that it must not get.
    `prefix`: what its prompt begins with, where the policy reads that.
    """

    __slots__ = ("caller", "cost", "is_first", "prefix", "priority", "tally", "tried")

    def __init__(
        self,
        caller: str,
        tally: Tally,
        priority: Priority,
        cost: float,
        *,
        is_first: bool = False,
        tried: Sequence[str] = (),
        prefix: Prefix = NO_PREFIX,
    ) -> None:
        self.caller = caller
        self.tally = tally
        self.priority: Priority = priority
        self.cost = cost
        self.is_first = is_first
        self.tried = tried
        self.prefix = prefix


class Rank:
    """`len` is how many wait."""

    __slots__ = ("_queues", "_size", "counters")

    def __init__(self) -> None:
        self.counters = Counters()
        self._queues: dict[str, deque[Waiter]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Waiter]:
        for queue in self._queues.values():
            yield from queue

    def join(self, waiter: Waiter) -> None:
        queue = self._queues.get(waiter.caller)
        if queue is None:
            self.counters.lift(waiter.tally, [q[0].tally for q in self._queues.values()])
            queue = self._queues[waiter.caller] = deque()
        queue.append(waiter)
        self._size += 1

    def leave(self, waiter: Waiter) -> bool:
        """Without a place. False when it does not wait any more."""
        queue = self._queues.get(waiter.caller, ())
        if not queue or waiter not in queue:
            return False
        queue.remove(waiter)
        if not queue:
            del self._queues[waiter.caller]
        self._size -= 1
        return True

    def next(self) -> Waiter:
        """Whose turn it is, charged and taken out. There must be one."""
        waiter = min(self._queues.values(), key=_served)[0]
        self.leave(waiter)
        self.counters.left(waiter.tally)
        waiter.tally.charge(waiter.cost)
        return waiter

    def ahead_of(self, waiter: Waiter) -> float:
        """About how many get a place before this one would, if it joined now.

        Its caller's own, and what others may take until its counter is the smallest.
        """
        tally = waiter.tally
        mine = self._queues.get(waiter.caller)
        start = tally.served
        if mine is None:
            start = max(start, min((q[0].tally.served for q in self._queues.values()), default=0.0))
        turn = start + sum(one.cost for one in mine or ()) / tally.weight
        ahead = float(len(mine or ()))
        for caller, queue in self._queues.items():
            if caller != waiter.caller:
                other = queue[0].tally
                each = max(1.0, other.usual_cost) / other.weight
                ahead += min(float(len(queue)), max(0.0, (turn - other.served) / each + 1))
        return ahead

    def longest(self) -> Waiter | None:
        """The last call of the caller that has most waiting for its weight."""
        if not self._queues:
            return None
        return max(self._queues.values(), key=_length)[-1]

    def length_of(self, waiter: Waiter, *, more: int = 0) -> float:
        """How many its caller has waiting, and `more`, for its weight."""
        return (len(self._queues.get(waiter.caller, ())) + more) / waiter.tally.weight


def _served(queue: deque[Waiter]) -> float:
    return queue[0].tally.served


def _length(queue: deque[Waiter]) -> float:
    return len(queue) / queue[0].tally.weight
