"""What a load test found, as data: the JSON of `gateway bench --json`. No I/O.

The form has a version of its own: fields are added to it, and never renamed or taken away
without a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.figures.quantiles import Spread, significant
from gateway.loadtest.arrivals import ClosedLoop, Load, OpenLoop
from gateway.loadtest.overhead import Overhead
from gateway.loadtest.slo import Slo
from gateway.loadtest.summary import Summary
from gateway.loadtest.sweep import Knee, knee_of
from gateway.loadtest.trial import Trial

VERSION = 1
SPREADS = ("ttft_ms", "itl_ms", "tpot_ms", "e2e_ms")


@dataclass(frozen=True, slots=True)
class Report:
    """One run of `gateway bench`. `prompts`: what was asked, in words; `at`: ISO 8601, UTC."""

    url: str
    model: str
    operation: str
    prompts: Mapping[str, object]
    seed: str
    slo: Slo
    at: str
    tool: str
    tests: Sequence[Trial]
    is_sweep: bool = False
    is_interrupted: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def knee(self) -> Knee | None:
        """What a sweep found; None where there was none."""
        points = [point for one in self.tests if (point := one.point) is not None]
        return knee_of(points) if self.is_sweep else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes figures doubtful, each thing once, with the test it was seen in."""
        return tuple(
            f"{one.words}: the client may have been the bottleneck: {warning}"
            for one in self.tests
            for warning in one.summary.overhead.warnings
        ) + tuple(
            f"{one.words}: {one.summary.cached_tokens / one.summary.prompt_tokens:.0%} of the "
            "prompt tokens came from a cache, so first tokens came sooner than for new prompts"
            for one in self.tests
            if one.summary.cached_tokens > 0.1 * one.summary.prompt_tokens
        )

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "version": VERSION,
            "tool": self.tool,
            "at": self.at,
            "url": self.url,
            "model": self.model,
            "operation": self.operation,
            "prompts": dict(self.prompts),
            "seed": self.seed,
            "slo": asdict(self.slo),
            "interrupted": self.is_interrupted,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "tests": [
                {"load": _load(one.load), "verdict": one.verdict, **_summary(one.summary)}
                for one in self.tests
            ],
            "sweep": None if self.knee is None else asdict(self.knee),
        }


def _load(load: Load) -> dict[str, object]:
    match load:
        case OpenLoop():
            told: dict[str, object] = {
                "kind": "open",
                "rate_per_s": load.rate_per_s,
                "arrival": load.arrival,
            }
            return told | ({"burstiness": load.burstiness} if load.arrival == "bursty" else {})
        case ClosedLoop():
            return {"kind": "closed", "concurrency": load.concurrency, "think_s": load.think_s}
        case _:
            return {"kind": "trace", "requests": len(load.entries), "speed": load.speed}


def _summary(summary: Summary) -> dict[str, object]:
    goodput = None
    if summary.goodput_ratio is not None:
        goodput = {
            "ratio": significant(summary.goodput_ratio),
            "per_s": _rounded(summary.goodput_per_s),
        }
    return {
        "requests": summary.requests,
        "whole": summary.whole,
        "failed": summary.failed,
        "unfinished": summary.unfinished,
        "failures": [asdict(failure) for failure in summary.failures],
        "duration_s": significant(summary.duration_s),
        "offered_per_s": _rounded(summary.offered_per_s),
        "served_per_s": significant(summary.served_per_s),
        "goodput": goodput,
        **{name: _spread(getattr(summary, name)) for name in SPREADS},
        "prompt_tokens": summary.prompt_tokens,
        "cached_tokens": summary.cached_tokens,
        "completion_tokens": summary.completion_tokens,
        "prompt_tokens_per_s": significant(summary.prompt_tokens_per_s),
        "completion_tokens_per_s": significant(summary.completion_tokens_per_s),
        "tokens_counted_by": "usage" if summary.tokens_counted else "events",
        "max_in_flight": summary.max_in_flight,
        "slowdown_per_s": _rounded(summary.slowdown_per_s),
        "client": _client(summary.overhead),
    }


def _client(overhead: Overhead) -> dict[str, object]:
    return {
        "lag_ms": _spread(overhead.lag_ms),
        "stall_ms": _spread(overhead.stall_ms),
        "cpu_ratio": significant(overhead.cpu_ratio),
        "warnings": list(overhead.warnings),
    }


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else spread.as_dict()


def _rounded(value: float | None) -> float | None:
    return None if value is None else significant(value)
