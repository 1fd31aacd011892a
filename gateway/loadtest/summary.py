"""One test in figures. No I/O.

Percentiles are of whole answers only; failures are counted beside them, by kind, and count
against goodput.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.figures.quantiles import Spread, spread_of
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.overhead import ClientLoad, Overhead, overhead_of
from gateway.loadtest.slo import Slo

_TREND_REQUESTS = 30


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Failures of one kind. `example`: the words of the first."""

    label: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Latencies in milliseconds; None where no answer had such a thing.

    `duration_s`: from the first intended start to the last end. `offered_per_s`: requests over
    the time in which they were meant to start; None of a closed loop. `slowdown_per_s`: by how
    many seconds answers became later in each second of the test, which is above 0 when a queue
    grows; None of too few. `goodput_ratio` None: nothing was promised.
    """

    requests: int
    whole: int
    unfinished: int
    failures: tuple[FailureCount, ...]
    duration_s: float
    offered_per_s: float | None
    served_per_s: float
    ttft_ms: Spread | None
    itl_ms: Spread | None
    tpot_ms: Spread | None
    e2e_ms: Spread | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    tokens_counted: bool
    goodput_ratio: float | None
    max_in_flight: int
    slowdown_per_s: float | None
    overhead: Overhead

    @property
    def failed(self) -> int:
        return sum(failure.count for failure in self.failures)

    @property
    def failed_ratio(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    @property
    def completion_tokens_per_s(self) -> float:
        return self.completion_tokens / self.duration_s if self.duration_s else 0.0

    @property
    def prompt_tokens_per_s(self) -> float:
        return self.prompt_tokens / self.duration_s if self.duration_s else 0.0

    @property
    def goodput_per_s(self) -> float | None:
        """Requests a second that met the objective."""
        if self.goodput_ratio is None:
            return None
        return self.goodput_ratio * self.requests / self.duration_s if self.duration_s else 0.0


def summary_of(
    outcomes: Sequence[Outcome],
    client: ClientLoad,
    slo: Slo,
    *,
    is_open: bool,
    unfinished: int = 0,
) -> Summary:
    """`unfinished`: requests that were interrupted, of which nothing is known."""
    whole = [outcome for outcome in outcomes if outcome.is_whole]
    duration_s = max((outcome.ended_s for outcome in outcomes), default=0.0)
    ttft = spread_of(1000 * o.ttft_s for o in whole if o.ttft_s is not None)
    met = sum(slo.is_met(outcome) for outcome in outcomes)
    lags = [outcome.lag_s for outcome in outcomes] if is_open else []
    return Summary(
        requests=len(outcomes),
        whole=len(whole),
        unfinished=unfinished,
        failures=_failures(outcomes),
        duration_s=duration_s,
        offered_per_s=_offered_per_s(outcomes) if is_open else None,
        served_per_s=len(whole) / duration_s if duration_s else 0.0,
        ttft_ms=ttft,
        itl_ms=spread_of(1000 * gap for o in whole for gap in o.gaps_s()),
        tpot_ms=spread_of(1000 * o.tpot_s for o in whole if o.tpot_s is not None),
        e2e_ms=spread_of(1000 * o.e2e_s for o in whole),
        prompt_tokens=sum(o.prompt_tokens for o in whole),
        cached_tokens=sum(o.cached_tokens for o in whole),
        completion_tokens=sum(o.completion_tokens for o in whole),
        tokens_counted=all(o.counted for o in whole),
        goodput_ratio=met / len(outcomes) if slo.is_given and outcomes else None,
        max_in_flight=max((count for _, count in in_flight(outcomes)), default=0),
        slowdown_per_s=slowdown_per_s(whole) if is_open else None,
        overhead=overhead_of(lags, client, ttft.p50 if ttft else 0.0),
    )


def in_flight(outcomes: Sequence[Outcome]) -> list[tuple[float, int]]:
    """How many requests were open, at each moment when that changed."""
    changes = [(o.sent_s, 1) for o in outcomes] + [(o.ended_s, -1) for o in outcomes]
    changes.sort()
    counts: list[tuple[float, int]] = []
    count = 0
    for at_s, change in changes:
        count += change
        counts.append((at_s, count))
    return counts


def slowdown_per_s(whole: Sequence[Outcome]) -> float | None:
    """How much later answers came, for each second of the test; None of too few to tell.

    The median latency of the last third of the requests against that of the middle third: the
    first third is left out, since an idle endpoint answers faster than a steady one.
    """
    if len(whole) < _TREND_REQUESTS:
        return None
    ordered = sorted(whole, key=lambda outcome: outcome.intended_s)
    third = len(ordered) // 3
    middle, last = ordered[third : 2 * third], ordered[2 * third :]
    passed_s = _middle_s(last) - _middle_s(middle)
    if passed_s <= 0:
        return None
    return (_median_e2e_s(last) - _median_e2e_s(middle)) / passed_s


def _middle_s(outcomes: Sequence[Outcome]) -> float:
    return statistics.median(outcome.intended_s for outcome in outcomes)


def _median_e2e_s(outcomes: Sequence[Outcome]) -> float:
    return statistics.median(outcome.e2e_s for outcome in outcomes)


def _offered_per_s(outcomes: Sequence[Outcome]) -> float | None:
    last_s = max((outcome.intended_s for outcome in outcomes), default=0.0)
    return (len(outcomes) - 1) / last_s if last_s > 0 else None


def _failures(outcomes: Sequence[Outcome]) -> tuple[FailureCount, ...]:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.failure is not None:
            counts[outcome.failure.label] += 1
            examples.setdefault(outcome.failure.label, outcome.failure.message)
    return tuple(FailureCount(k, count, examples[k]) for k, count in counts.most_common())
