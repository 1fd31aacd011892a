"""When requests are meant to start. No I/O, and chance comes in as an argument.

In an open loop requests come when users send them, however slow the answers are; in a closed
loop each of a number of users waits for an answer before asking again, which hides a slow
endpoint behind fewer requests ("coordinated omission", Gil Tene, "How NOT to Measure Latency").
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.loadtest.trace import TraceEntry

Arrival = Literal["poisson", "constant", "bursty"]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much load: so many requests, or so many seconds in which they start; the first to end."""

    requests: int | None = None
    duration_s: float | None = None

    def has_room(self, number: int, at_s: float) -> bool:
        """Whether request `number`, from 0, may start at this time."""
        return (self.requests is None or number < self.requests) and (
            self.duration_s is None or at_s < self.duration_s
        )


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Requests at `rate_per_s` on average.

    Gaps between them are all the same (constant), exponential (poisson: users who know nothing of
    one another) or gamma with shape `burstiness` (bursty: below 1, many at once and then none;
    the squared coefficient of variation is 1 / burstiness).
    """

    rate_per_s: float
    arrival: Arrival = "poisson"
    burstiness: float = 0.25


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """So many users, each asking again `think_s` after the answer."""

    concurrency: int
    think_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Replay:
    """Requests when and as long as those of a trace, `speed` times as fast."""

    entries: tuple[TraceEntry, ...]
    speed: float = 1.0


Load = OpenLoop | ClosedLoop | Replay


def starts(load: OpenLoop | Replay, extent: Extent, rng: random.Random) -> Iterator[float]:
    """Seconds from the beginning at which requests are meant to start, in order."""
    given = _drawn(load, rng) if isinstance(load, OpenLoop) else _recorded(load)
    for number, at_s in enumerate(given):
        if not extent.has_room(number, at_s):
            return
        yield at_s


def _recorded(load: Replay) -> Iterator[float]:
    return (entry.at_s / load.speed for entry in load.entries)


def _drawn(load: OpenLoop, rng: random.Random) -> Iterator[float]:
    at_s, number = 0.0, 0
    while True:
        yield at_s
        number += 1
        match load.arrival:
            case "constant":
                at_s = number / load.rate_per_s
            case "poisson":
                at_s += rng.expovariate(load.rate_per_s)
            case _:
                shape = load.burstiness
                at_s += rng.gammavariate(shape, 1 / (load.rate_per_s * shape))
