"""From what probes say to whether a replica is used. Pure.

Two failed probes in a row take a replica out, one good probe brings it back; what an engine
says of itself (loading, asleep) counts at once. Nobody is taken out before the first probe.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

FAILURES_TO_LEAVE = 2


class Condition(StrEnum):
    """What we think of a replica."""

    UNKNOWN = "unknown"
    READY = "ready"
    LOADING = "loading"
    ASLEEP = "asleep"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Health:
    """The condition of one replica, and how many probes have failed in a row."""

    condition: Condition = Condition.UNKNOWN
    failures: int = 0

    @property
    def is_usable(self) -> bool:
        return self.condition in (Condition.UNKNOWN, Condition.READY)


def after_probe(health: Health, seen: Condition) -> Health:
    """The health after one more probe. `seen` is UNHEALTHY when the probe failed."""
    if seen is not Condition.UNHEALTHY:
        return Health(seen)
    failures = health.failures + 1
    if failures < FAILURES_TO_LEAVE and health.condition is not Condition.UNHEALTHY:
        return replace(health, failures=failures)
    return Health(Condition.UNHEALTHY, failures)
