"""How long an engine has had nothing to do, for anybody. Pure.

The engine's own counters say so, not our requests: other gateway processes, and whoever asks it
directly, are seen as well.
"""

from gateway.fleet.health import Condition
from gateway.fleet.replica_state import ReplicaState


class Idleness:
    """One engine's. `idle_s` is 0 while it works, is not ready, or tells too little."""

    __slots__ = ("_since_s", "_tokens")

    def __init__(self) -> None:
        self._tokens: float | None = None
        self._since_s: float | None = None

    def idle_s(self, state: ReplicaState, now_s: float) -> float:
        """Seconds, from all that was seen until now: to be asked several times a second."""
        is_known = state.tokens_counted is not None and state.running is not None
        is_busy = bool(state.in_flight or state.running or state.waiting)
        has_moved = state.tokens_counted != self._tokens
        self._tokens = state.tokens_counted
        if not is_known or is_busy or has_moved or state.condition is not Condition.READY:
            self._since_s = None
            return 0.0
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s
