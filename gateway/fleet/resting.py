"""Replicas that asked to be left alone for a while, and until when. Pure.

An overloaded engine says `retry-after`, or nothing: then we give it a second. Until then calls
go to its siblings first. It is no verdict on its health: where no sibling is left, a new call
is still sent, since only the engine knows when it has room again.
"""

from collections.abc import Collection
from typing import Final

from gateway.errors import EngineDraining, EngineOverloaded, GatewayError
from gateway.fleet.replica_state import ReplicaState

_UNTOLD_S: Final = 1.0
_LONGEST_S: Final = 60.0


class Resting:
    """Who rests. `until_s` is empty while nobody does, which is nearly always."""

    __slots__ = ("_told", "until_s")

    def __init__(self) -> None:
        self.until_s: dict[ReplicaState, float] = {}
        self._told: set[ReplicaState] = set()

    def failed(self, state: ReplicaState, failure: GatewayError, now_s: float) -> None:
        """A try on this replica has failed; perhaps it asked for a rest."""
        if isinstance(failure, EngineOverloaded | EngineDraining):
            told_s = failure.retry_after_s
            if told_s is not None:
                self._told.add(state)
            rest_s = _UNTOLD_S if told_s is None else min(told_s, _LONGEST_S)
            self.until_s[state] = max(self.until_s.get(state, 0.0), now_s + rest_s)

    def at(self, now_s: float, *, only_told: bool = False) -> Collection[ReplicaState]:
        """Those that rest now, or only those that asked for it; forgets those that are done."""
        for state in [one for one, until_s in self.until_s.items() if until_s <= now_s]:
            del self.until_s[state]
            self._told.discard(state)
        return self._told if only_told else self.until_s.keys()
