"""When an engine that has ended is started again. No I/O.

At once would be a busy loop, so each pause is twice the one before, up to a minute; an engine
that has served for a minute begins anew. One that ended five times and was never ready has a
mistake that time does not mend: it is given up.
"""

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
SETTLED_S = 60.0
MAX_FALSE_STARTS = 5


class Restarts:
    """What is known of one engine's ends."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S
        self._false_starts = 0
        self._was_ready = False

    def pause_s(self, served_s: float | None) -> float | None:
        """After an end, how long to wait for the next start; None: no more starts.

        `served_s`: how long it was ready, None when it never was this time.
        """
        if served_s is None:
            self._false_starts += 1
            if not self._was_ready and self._false_starts >= MAX_FALSE_STARTS:
                return None
        else:
            self._was_ready = True
            if served_s >= SETTLED_S:
                self._pause_s = FIRST_PAUSE_S
        pause_s = self._pause_s
        self._pause_s = min(MAX_PAUSE_S, 2 * pause_s)
        return pause_s
