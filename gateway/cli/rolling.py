"""Replace workers one after another, so that nobody is refused. Decides; the crew acts.

A replacement starts in a spare place and has to serve before the worker that it replaces is
asked to retire: that one takes no new connection, brings what runs to its end, and leaves its
place, which is the next spare one. Where a replacement does not come to serve, the rest is left
as it is.
"""

import logging
import signal
from collections.abc import Callable
from typing import Final, Protocol

from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names

log = logging.getLogger(__name__)

RETIRE: Final = signal.SIGUSR2
_SERVES_WITHIN_S: Final = 60.0


class Running(Protocol):
    """A worker's process."""

    @property
    def serves(self) -> bool:
        """It has come to serve."""
        ...

    def poll(self) -> int | None: ...

    def send_signal(self, number: int, /) -> None: ...


class Replaceable(Protocol):
    """A place in the crew and whoever has it."""

    number: int

    @property
    def process(self) -> Running | None:
        """None: nobody has it now."""
        ...

    def hand_over(self, number: int, process: Running, started_s: float) -> None:
        """Another process has it from now on."""
        ...


class Roll:
    """One round at most at a time. `spare`: the number that nobody has at first."""

    def __init__(self, start: Callable[[int], Running], spare: int) -> None:
        self._start = start
        self._spare = spare
        self._waiting: list[Replaceable] = []
        self._fresh: Running | None = None
        self._started_s = 0.0
        self._retired: Running | None = None

    def begin(self, workers: list[Replaceable]) -> None:
        """Replace all of these. Those that were to be replaced already have their turn once."""
        self._waiting = list(workers)

    def stop(self) -> None:
        """Begin nothing more."""
        self._waiting = []

    def outside(self) -> list[Running]:
        """Processes that have no place in the crew: a replacement, or one that has retired."""
        both = (self._fresh, self._retired)
        return [one for one in both if one is not None and one.poll() is None]

    def go_on(self, now_s: float) -> None:
        """One step, if it is time for one."""
        if self._retired is not None:
            if self._retired.poll() is not None:
                self._retired = None
        elif self._fresh is not None:
            self._await_fresh(self._fresh, now_s)
        elif self._waiting:
            self._started_s = now_s
            self._fresh = self._start(self._spare)

    def _await_fresh(self, fresh: Running, now_s: float) -> None:
        if fresh.poll() is not None or now_s - self._started_s > _SERVES_WITHIN_S:
            log.error(F.WORKERS_NOT_REPLACED)
            if fresh.poll() is None:
                fresh.send_signal(signal.SIGKILL)
            self._fresh = None
            self.stop()
        elif fresh.serves and self._waiting:
            worker = self._waiting.pop(0)
            old, number = worker.process, worker.number
            worker.hand_over(self._spare, fresh, self._started_s)
            self._spare, self._fresh = number, None
            if old is not None and old.poll() is None:
                old.send_signal(RETIRE)
                self._retired = old
            if not self._waiting:
                log.info(F.WORKERS_REPLACED)
        elif fresh.serves:
            self._fresh = None  # stopping: the crew's signal has reached it
