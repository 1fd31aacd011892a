"""How soon the answers of a variant begin now: what the next call may expect. Pure.

Seen from calls that are streamed to us, since only those tell when they begin. What was seen
fades while nobody asks, so that a variant that was slow is tried again; while calls wait for
their first token it does not, and the next will hardly wait for less than the longest of those has.
"""

import math
from collections.abc import Callable
from typing import Final

_NEWS: Final = 0.1
_HALF_LIFE_S: Final = 10.0


class Promptness:
    """One variant's."""

    __slots__ = ("_pending", "_seen_s", "_usual_s")

    def __init__(self) -> None:
        self._pending: dict[Onset, float] = {}
        self._usual_s: float | None = None
        self._seen_s = 0.0

    def sent(self, onset: "Onset", now_s: float) -> None:
        self._usual_s = self._faded_s(now_s)
        self._pending[onset] = now_s

    def began(self, onset: "Onset", now_s: float) -> None:
        """An answer has begun."""
        sent_s = self._pending.pop(onset, None)
        if sent_s is None:
            return
        took_s = now_s - sent_s
        known_s = self._usual_s
        self._usual_s = took_s if known_s is None else known_s + (took_s - known_s) * _NEWS
        self._seen_s = now_s

    def gone(self, onset: "Onset", now_s: float) -> None:
        """It failed, or its client left."""
        if self._pending.pop(onset, None) is not None and not self._pending:
            self._seen_s = now_s

    def predicted_s(self, now_s: float) -> float | None:
        """From sending a call to its first token; None: nothing has been seen yet."""
        if not self._pending:
            return self._faded_s(now_s)
        longest_s = now_s - next(iter(self._pending.values()))
        return max(longest_s, self._usual_s or 0.0)

    def _faded_s(self, now_s: float) -> float | None:
        if self._usual_s is None or self._pending:
            return self._usual_s
        return self._usual_s * math.exp2(-(now_s - self._seen_s) / _HALF_LIFE_S)


class Onset:
    """A call that has been sent, and whose answer has not begun."""

    __slots__ = ("_now_s", "_of")

    def __init__(self, of: Promptness, now_s: Callable[[], float]) -> None:
        self._of = of
        self._now_s = now_s
        of.sent(self, now_s())

    def began(self) -> None:
        self._of.began(self, self._now_s())

    def gone(self) -> None:
        self._of.gone(self, self._now_s())
