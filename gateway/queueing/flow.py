"""How fast places come free while calls wait, and so how long a call would wait. Pure.

Only time in which somebody waited counts: without waiting calls, places come free as slowly as
calls come. What was seen fades within ten seconds, or eight places where those take longer, so
the rate follows replicas that come and go. The time since the last place counts as well: an
engine that hangs makes the wait longer.
"""

import math
from typing import Final

_MEMORY_S: Final = 10.0
_MEMORY_PLACES: Final = 8.0
# places, fading, that have to be seen before anything is said
_LEAST: Final = 3.0


class Flow:
    """One variant's."""

    __slots__ = ("_places", "_seconds", "_since_s")

    def __init__(self) -> None:
        self._places = 0.0
        self._seconds = 0.0
        self._since_s: float | None = None

    def begin(self, now_s: float) -> None:
        """Somebody waits from now on."""
        if self._since_s is None:
            self._since_s = now_s

    def end(self, now_s: float) -> None:
        """Nobody waits any more."""
        self._pass(now_s)
        self._since_s = None

    def given(self, now_s: float) -> None:
        """A waiting call has got a place."""
        self._pass(now_s)
        self._places += 1

    def wait_s(
        self, ahead: float, now_s: float, *, places: int, usual_s: float | None
    ) -> float | None:
        """Until a call with so many before it gets a place; None: nobody can say yet.

        Until enough places were given, what is known of answers must do: that there are so many
        `places`, each of which is taken for `usual_s`.
        """
        if self._places < _LEAST:
            return None if usual_s is None else (ahead + 1) * usual_s / max(1, places)
        more_s = 0.0 if self._since_s is None else now_s - self._since_s
        return (ahead + 1) * (self._seconds + more_s) / self._places

    def _pass(self, now_s: float) -> None:
        if self._since_s is None:
            return
        passed_s = max(0.0, now_s - self._since_s)
        slow_s = _MEMORY_PLACES * self._seconds / self._places if self._places else 0.0
        fade = math.exp(-passed_s / max(_MEMORY_S, slow_s))
        self._places *= fade
        self._seconds = self._seconds * fade + passed_s
        self._since_s = now_s
