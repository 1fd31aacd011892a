"""The calls that wait for one variant, and whose turn it is. Pure.

First come those that had a place before (a retry has stood in line already), then the
interactive ones, then batch. So that batch does not starve, it gets one of every `BATCH_EVERY`
places that are given while it waits.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from gateway.config.access import Priority
from gateway.queueing.counters import Tally
from gateway.queueing.rank import Rank, Waiter

BATCH_EVERY: Final = 20


class Line:
    """`len` is how many wait."""

    __slots__ = ("_first", "_ranks", "_since_batch")

    def __init__(self) -> None:
        self._first: deque[Waiter] = deque()
        self._ranks: dict[Priority, Rank] = {"interactive": Rank(), "batch": Rank()}
        self._since_batch = 0

    def __len__(self) -> int:
        return len(self._first) + sum(map(len, self._ranks.values()))

    def __iter__(self) -> Iterator[Waiter]:
        yield from self._first
        for rank in self._ranks.values():
            yield from rank

    def tally(self, caller: str, weight: float, priority: Priority) -> Tally:
        """How much a caller has been served here."""
        return self._ranks[priority].counters.of(caller, weight)

    def join(self, waiter: Waiter) -> None:
        if waiter.is_first:
            self._first.append(waiter)
        else:
            self._ranks[waiter.priority].join(waiter)

    def leave(self, waiter: Waiter) -> bool:
        """Without a place. False when it does not wait any more."""
        if not waiter.is_first:
            return self._ranks[waiter.priority].leave(waiter)
        if waiter not in self._first:
            return False
        self._first.remove(waiter)
        return True

    def next(self, suits: Callable[[Waiter], bool]) -> Waiter | None:
        """Whose turn it is, charged and taken out; `suits`: whether a free place is for it."""
        for waiter in self._first:
            if suits(waiter):
                self._first.remove(waiter)
                waiter.tally.charge(waiter.cost)
                return waiter
        interactive, batch = self._ranks.values()
        if not batch:
            self._since_batch = 0
            return interactive.next() if interactive else None
        self._since_batch += 1
        if interactive and self._since_batch < BATCH_EVERY:
            return interactive.next()
        self._since_batch = 0
        return batch.next()

    def ahead_of(self, waiter: Waiter) -> float:
        """About how many calls get a place before this one would, if it joined now."""
        ahead = float(len(self._first))
        if waiter.is_first:
            return ahead
        own = self._ranks[waiter.priority].ahead_of(waiter)
        if waiter.priority == "interactive":
            return ahead + own
        before = len(self._ranks["interactive"])
        return ahead + min(before + own, (own + 1) * BATCH_EVERY - 1)

    def to_displace(self, newcomer: Waiter) -> Waiter | None:
        """Who gives up its place in a full line: the last of the caller with most waiting.

        None: the newcomer is the one that must go. Batch gives way to everybody else.
        """
        interactive, batch = self._ranks.values()
        if newcomer.is_first:
            return batch.longest() or interactive.longest()
        if newcomer.priority == "interactive" and batch:
            return batch.longest()
        rank = self._ranks[newcomer.priority]
        longest = rank.longest()
        if longest is None or rank.length_of(newcomer, more=1) >= rank.length_of(longest):
            return None
        return longest
