"""A limit on requests at once that follows latency, for engines that tell nothing. Pure.

While answers come as fast as they ever did, more may run at once; when they take longer than
`TOLERANCE` times that, fewer. Compared are averages over a second against the smallest such
average of long; that rises by a thousandth with each, so that a model that has become slower for
good is not throttled for ever. Streams are measured by their time to first token, other answers
by their time per token: each against its own past, so the mix of both does not matter.

Source: Netflix concurrency-limits, Gradient2Limit (its smoothing, its bound on one step and its
rule that a limit nobody needs does not grow), with the long-run minimum of its GradientLimit.
"""

import math
from enum import IntEnum
from typing import Final

START: Final = 64
LEAST: Final = 4
MOST: Final = 1024
TOLERANCE: Final = 2.0
WINDOW_S: Final = 1.0
_LEAST_SAMPLES: Final = 10
_SMOOTHING: Final = 0.2
_STEEPEST: Final = 0.5
_DRIFT: Final = 1.001


class Signal(IntEnum):
    """What was measured."""

    FIRST_TOKEN = 0
    PER_TOKEN = 1


class _Past:
    """The window that is open, and the smallest average of those before; 0: there was none."""

    __slots__ = ("began_s", "busiest", "count", "least_s", "sum_s")

    def __init__(self) -> None:
        self.least_s = 0.0
        self.began_s = 0.0
        self.sum_s = 0.0
        self.count = 0
        self.busiest = 0


class Gradient:
    """The limit of one replica."""

    __slots__ = ("_limit", "_pasts")

    def __init__(self, start: float = START) -> None:
        self._limit = float(start)
        self._pasts = (_Past(), _Past())

    @property
    def limit(self) -> int:
        """Requests at once."""
        return int(self._limit)

    def measured(self, signal: Signal, took_s: float, in_flight: int, now_s: float) -> None:
        """An answer; `in_flight` requests were there, itself included."""
        past = self._pasts[signal]
        if not past.count:
            past.began_s = now_s
        past.sum_s += took_s
        past.count += 1
        past.busiest = max(past.busiest, in_flight)
        if past.count >= _LEAST_SAMPLES and now_s - past.began_s >= WINDOW_S:
            self._close(past)

    def refused(self, limit: int) -> None:
        """The engine says that it has too much: no more than this from now on."""
        self._limit = float(max(LEAST, limit))

    def _close(self, past: _Past) -> None:
        average_s, busiest = past.sum_s / past.count, past.busiest
        past.sum_s, past.count, past.busiest = 0.0, 0, 0
        past.least_s = min(past.least_s * _DRIFT, average_s) if past.least_s else average_s
        if busiest < self._limit / 2:
            return
        slope = 1.0 if not average_s else TOLERANCE * past.least_s / average_s
        slope = max(_STEEPEST, min(1.0, slope))
        aim = self._limit * slope + math.sqrt(self._limit)
        smoothed = self._limit * (1 - _SMOOTHING) + aim * _SMOOTHING
        self._limit = max(LEAST, min(MOST, smoothed))
