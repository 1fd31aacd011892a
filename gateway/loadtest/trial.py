"""One load and what came of it. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.loadtest.arrivals import ClosedLoop, Load, OpenLoop
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.summary import Summary
from gateway.loadtest.sweep import Point, Verdict


@dataclass(frozen=True, slots=True)
class Trial:
    """`verdict` None: no rate was to be sustained, this was no part of a sweep."""

    load: Load
    outcomes: Sequence[Outcome]
    summary: Summary
    verdict: Verdict | None = None

    @property
    def point(self) -> Point | None:
        """As a point of a sweep; None when it is no part of one."""
        if self.verdict is None or not isinstance(self.load, OpenLoop):
            return None
        return Point(self.load.rate_per_s, self.summary, self.verdict)

    @property
    def words(self) -> str:
        """The load in a few words."""
        return load_words(self.load)


def load_words(load: Load) -> str:
    """A load in a few words."""
    match load:
        case OpenLoop(rate_per_s=rate, arrival=arrival):
            return f"{rate:g} requests/s, {arrival}"
        case ClosedLoop(concurrency=users):
            return f"{users} at a time"
        case _:
            return f"a trace of {len(load.entries)} requests at speed {load.speed:g}"
