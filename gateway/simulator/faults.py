"""Faults on demand: what goes wrong, for which requests, and for how long.

Written as `name` or `name=value`, with options behind semicolons: `reset-after=3`,
`status=503;retry-after=2`. A request asks for one by the header `x-simulate-fault`; `POST
/simulate/faults` injects one for the next requests or for a time.
"""

from dataclasses import dataclass, field
from typing import Final

HEADER: Final = "x-simulate-fault"

# name: what its value is, or None when it takes none
FAULTS: Final[dict[str, str | None]] = {
    "refuse": None,  # the connection is reset as soon as the request is read
    "reset-before-headers": None,
    "close-before-headers": None,
    "half-status-line": None,
    "bad-header": None,
    "huge-head": "bytes",
    "stall-before-headers": None,
    "stall-before-content": None,
    "stall-after": "events",
    "reset-after": "events",
    "truncate-after": "events",
    "abort-after": "events",
    "error-event-after": "events",
    "error-event-first": None,
    "cut-at-byte": "bytes",
    "no-done": None,
    "drip": None,
    "garbage": None,
    "huge-event": "bytes",
    "crlf": None,
    "split": "bytes",
    "close-keepalive": None,
    "usage": "missing, null or negative",
    "status": "HTTP status",
    "html-error": "HTTP status",
    "slow": "factor",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `value` is as written; `options` are those behind the semicolons."""

    name: str
    value: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The value as a whole number; 0 when it has none."""
        return int(self.value or 0)


def read_fault(text: str) -> Fault:
    """Raises ValueError, which says what is known."""
    first, *rest = text.strip().split(";")
    name, _, value = first.partition("=")
    name = name.strip()
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")
    wanted = FAULTS[name]
    if wanted is None and value:
        raise ValueError(f"{name} takes no value")
    if wanted in ("events", "bytes", "HTTP status", "factor") and not value.strip().isdigit():
        raise ValueError(f"{name} needs a number: {name}=N ({wanted})")
    value = value.strip()
    if name == "usage" and value not in ("missing", "null", "negative"):
        raise ValueError(f"usage needs a kind: usage=missing, null or negative, not {value!r}")
    options = dict(part.strip().split("=", 1) for part in rest if "=" in part)
    if not options.get("code", "500").isdigit():
        raise ValueError(f"code needs a number, not {options['code']!r}")
    return Fault(name, value, options)


def told_usage(fault: Fault | None, usage: object) -> dict[str, object]:
    """The usage as the fault wants it told: an object's part, empty when it is not told."""
    match fault:
        case Fault("usage", "missing"):
            return {}
        case Fault("usage", "null"):
            return {"usage": None}
        case Fault("usage", "negative"):
            wrong = {"prompt_tokens": -5, "completion_tokens": -1, "total_tokens": -6}
            return {"usage": wrong}
        case _:
            return {"usage": usage}


@dataclass(slots=True)
class Injection:
    """A fault for several requests. None: no bound of that kind."""

    fault: Fault
    count: int | None = None
    until_s: float | None = None
    probability: float = 1.0


class FaultBox:
    """The injections that are in force; the oldest that applies wins."""

    def __init__(self) -> None:
        self.injections: list[Injection] = []

    def inject(self, injection: Injection) -> None:
        self.injections.append(injection)

    def clear(self) -> None:
        self.injections.clear()

    def draw(self, now_s: float, chance: float) -> Fault | None:
        """The fault for one request, if any; `chance` is drawn from 0 to 1."""
        self.injections = [
            i
            for i in self.injections
            if (i.count is None or i.count > 0) and (i.until_s is None or now_s < i.until_s)
        ]
        for injection in self.injections:
            if chance < injection.probability:
                if injection.count is not None:
                    injection.count -= 1
                return injection.fault
        return None
