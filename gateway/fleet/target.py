"""How many of our requests a replica is to have at once, and on whose word. Pure.

The configuration's number holds where there is one, and each of several processes keeps to its
part of it. Otherwise it is learned from what the engine reports, or, where it reports nothing,
from how long its answers take.
"""

from enum import StrEnum
from typing import Final

from gateway.engines.adapter import Load
from gateway.fleet.catalog import UNLIMITED
from gateway.fleet.gradient import Gradient, Signal
from gateway.fleet.learned import Learned

_REFUSED_EVERY_S: Final = 1.0
_AFTER_REFUSAL: Final = 0.9


class Basis(StrEnum):
    """On whose word."""

    CONFIGURED = "configured"
    LEARNED = "learned"
    ADAPTIVE = "adaptive"
    UNLIMITED = "unlimited"


class Target:
    """The target of one replica. `configured` None: it has to be found out.

    `gradient` is there while answers are to be timed.
    """

    __slots__ = ("_configured", "_learned", "_processes", "_refused_s", "gradient")

    def __init__(self, configured: int | None, processes: int) -> None:
        self._configured = configured
        self._processes = processes
        self._learned: Learned | None = None
        self._refused_s = float("-inf")
        self.gradient = Gradient() if configured is None else None

    @property
    def basis(self) -> Basis:
        if self._configured is not None:
            return Basis.UNLIMITED if self._configured >= UNLIMITED else Basis.CONFIGURED
        return Basis.ADAPTIVE if self._learned is None else Basis.LEARNED

    @property
    def most(self) -> int:
        """Requests at once, at least 1."""
        if self._configured is not None:
            if self._configured >= UNLIMITED:
                return UNLIMITED
            return max(1, self._configured // self._processes)
        if self._learned is not None:
            return self._learned.target
        return self.gradient.limit if self.gradient is not None else UNLIMITED

    def is_for(self, configured: int | None, processes: int) -> bool:
        """Whether a changed configuration asks for nothing else."""
        return (self._configured, self._processes) == (configured, processes)

    def probed(self, load: Load, ours: float, *, was_reached: bool) -> None:
        """What a probe saw. An engine that goes silent for a while keeps what was learned."""
        if self._configured is not None or load.running is None or load.waiting is None:
            return
        if self._learned is None:
            self._learned, self.gradient = Learned(load), None
        self._learned.probed(load, ours, was_reached=was_reached)

    def measured(self, signal: Signal, took_s: float, in_flight: int, now_s: float) -> None:
        """How long an answer took."""
        if self.gradient is not None:
            self.gradient.measured(signal, took_s, in_flight, now_s)

    def refused(self, in_flight: int, now_s: float) -> None:
        """The engine refused a request for overload: many such words at once count as one."""
        if now_s - self._refused_s < _REFUSED_EVERY_S:
            return
        self._refused_s = now_s
        limit = int(min(self.most, in_flight) * _AFTER_REFUSAL)
        if self._learned is not None:
            self._learned.refused(limit)
        elif self.gradient is not None:
            self.gradient.refused(limit)
