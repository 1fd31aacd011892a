"""Time as an argument: the only module that reads a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now_s(self) -> float:
        """Seconds on a clock that never steps."""
        ...

    def unix_s(self) -> float:
        """Seconds since 1970, for people and headers; may step."""
        ...


class SystemClock:
    """The machine's own clocks."""

    now_s = staticmethod(time.monotonic)
    unix_s = staticmethod(time.time)
