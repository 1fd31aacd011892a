"""When each replica began to fail: what ran there then was caught by it. Pure.

A replica that dies takes all its calls with it at once, more than any share of recent requests
allows to be tried again. They are tried again whatever the budget says, since it happens once:
what begins on a replica that fails already is not caught by surprise. Only a replica that has
not failed for the length of the budget's window begins anew.
"""

from gateway.fleet.replica_state import ReplicaState
from gateway.proxy.budget import WINDOW_S

_BEGAN, _LAST = 0, 1


class Onsets:
    """Of the replicas that have failed lately."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: dict[ReplicaState, list[float]] = {}

    def caught(self, state: ReplicaState, began_s: float, now_s: float) -> bool:
        """A try that began there at `began_s` has failed: whether it ran when failures began."""
        times = self._times.get(state)
        if times is None or now_s - times[_LAST] >= WINDOW_S:
            self._forget(now_s)
            times = self._times[state] = [now_s, now_s]
        times[_LAST] = now_s
        return began_s < times[_BEGAN]

    def _forget(self, now_s: float) -> None:
        """Those that have not failed lately."""
        old = [one for one, times in self._times.items() if now_s - times[_LAST] >= WINDOW_S]
        for one in old:
            del self._times[one]
