"""The last calls that failed in this process, for people who look. Bounded.

Each outcome has its own room, so that a client that sends rubbish all day does not push out the
engine's failure that matters.
"""

from collections import deque
from operator import attrgetter
from typing import Final

from gateway.telemetry.request_line import RequestLine

KEPT: Final = 20


class RecentFailures:
    """`KEPT` lines of the request log for each outcome."""

    def __init__(self) -> None:
        self._by_outcome: dict[str, deque[RequestLine]] = {}

    def add(self, line: RequestLine) -> None:
        kept = self._by_outcome.get(line.outcome)
        if kept is None:
            kept = self._by_outcome[line.outcome] = deque(maxlen=KEPT)
        kept.append(line)

    def newest(self) -> list[RequestLine]:
        """All that is kept, the newest first."""
        lines = [line for kept in self._by_outcome.values() for line in kept]
        return sorted(lines, key=attrgetter("time"), reverse=True)
