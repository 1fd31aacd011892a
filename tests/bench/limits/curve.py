"""What was admitted, held against what is allowed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowed:
    """A bucket: `per_s` calls a second, `burst` at once."""

    per_s: float
    burst: int

    def until(self, s: float) -> float:
        """How many calls it can have let through after `s` seconds, if it was full before."""
        return self.burst + self.per_s * s


@dataclass(frozen=True, slots=True)
class Curve:
    """`points`: calls admitted until a time, in seconds.

    `above`: by how many calls it was over what is allowed at the worst moment, 0 if never.
    `use`: what was admitted in the end, of what was allowed.
    """

    processes: int
    points: Sequence[tuple[float, int]]
    above: float
    use: float

    def summary(self) -> dict[str, float]:
        return {
            "processes": self.processes,
            "admitted": self.points[-1][1] if self.points else 0,
            "above_limit": round(self.above, 2),
            "use": round(self.use, 4),
        }


def curve(processes: int, times: Sequence[float], allowed: Allowed, seconds: float) -> Curve:
    """From the times at which calls were admitted, in any order."""
    points = [(time, number) for number, time in enumerate(sorted(times), 1)]
    above = max((number - allowed.until(time) for time, number in points), default=0.0)
    return Curve(processes, points, max(0.0, above), len(points) / allowed.until(seconds))
