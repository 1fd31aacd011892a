"""The same as rows of text, for the terminal and for pages. No I/O."""

from collections.abc import Sequence

from gateway.figures.quantiles import Spread
from gateway.loadtest.report import Report
from gateway.loadtest.summary import Summary
from gateway.loadtest.trial import Trial

LATENCY_HEADERS = ("latency, ms", "mean", "p50", "p90", "p95", "p99", "max")
SWEEP_HEADERS = (
    "rate/s",
    "served/s",
    "failed",
    "ttft p50",
    "ttft p99",
    "itl p50",
    "itl p99",
    "e2e p50",
    "e2e p99",
    "out tok/s",
    "in flight",
    "goodput",
    "verdict",
)
_LATENCIES = (
    ("first token (TTFT)", "ttft_ms"),
    ("between tokens (ITL)", "itl_ms"),
    ("mean per token (TPOT)", "tpot_ms"),
    ("whole answer (E2E)", "e2e_ms"),
)

Row = tuple[str, ...]


def latency_rows(summary: Summary) -> list[Row]:
    """One row for each latency there is."""
    rows: list[Row] = []
    for name, field in _LATENCIES:
        spread: Spread | None = getattr(summary, field)
        if spread is not None:
            rows.append((name, *_cells(spread)))
    return rows


def _cells(spread: Spread) -> tuple[str, ...]:
    values = (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.max)
    return tuple(number(value) for value in values)


def fact_rows(test: Trial) -> list[Row]:
    """What is no latency: a name, and its value."""
    summary = test.summary
    requests = f"{summary.requests:,}: {summary.whole:,} whole, {summary.failed:,} failed"
    if summary.unfinished:
        requests += f", and {summary.unfinished:,} interrupted"
    served = f"{number(summary.served_per_s)} a second"
    if summary.offered_per_s is not None:
        served += f", of {number(summary.offered_per_s)} offered"
    counted = "" if summary.tokens_counted else " (counted as events: no usage was given)"
    rows: list[Row] = [
        ("load", test.words),
        ("requests", requests),
        ("served", f"{served}, in {number(summary.duration_s)} s"),
        (
            "output tokens",
            f"{number(summary.completion_tokens_per_s)} a second, "
            f"{summary.completion_tokens:,} in all{counted}",
        ),
    ]
    if summary.prompt_tokens:
        cached = f", {summary.cached_tokens:,} from a cache" if summary.cached_tokens else ""
        rows.append(
            (
                "prompt tokens",
                f"{number(summary.prompt_tokens_per_s)} a second, "
                f"{summary.prompt_tokens:,} in all{cached}",
            )
        )
    if summary.goodput_ratio is not None and summary.goodput_per_s is not None:
        rows.append(
            (
                "goodput",
                f"{summary.goodput_ratio:.1%} of the requests, "
                f"{number(summary.goodput_per_s)} a second",
            )
        )
    rows.append(("most in flight", f"{summary.max_in_flight:,}"))
    rows.append(("this client", client_words(summary)))
    return rows


def client_words(summary: Summary) -> str:
    """What the load generator took, in a sentence."""
    overhead = summary.overhead
    parts = [f"{overhead.cpu_ratio:.0%} of a core"]
    if overhead.lag_ms is not None:
        parts.append(
            f"sent late by {number(overhead.lag_ms.p50)} ms (p50), "
            f"{number(overhead.lag_ms.p99)} ms (p99)"
        )
    if overhead.stall_ms is not None:
        parts.append(f"event loop late by {number(overhead.stall_ms.p99)} ms (p99)")
    return ", ".join(parts)


def failure_rows(tests: Sequence[Trial]) -> list[Row]:
    """How often, what, and the words of the first."""
    rows: list[Row] = []
    for test in tests:
        for failure in test.summary.failures:
            where = (test.words,) if len(tests) > 1 else ()
            rows.append((*where, f"{failure.count:,}", failure.label, failure.example))
    return rows


def sweep_rows(report: Report) -> list[Row]:
    """One row for each rate, the lowest first."""
    points = [(test.point, test.summary) for test in report.tests]
    return [
        (
            f"{point.rate_per_s:g}",
            number(summary.served_per_s),
            f"{summary.failed:,}",
            *(
                "" if spread is None else number(value)
                for spread in (summary.ttft_ms, summary.itl_ms, summary.e2e_ms)
                for value in ((spread.p50, spread.p99) if spread else (0.0, 0.0))
            ),
            number(summary.completion_tokens_per_s),
            f"{summary.max_in_flight:,}",
            "" if summary.goodput_ratio is None else f"{summary.goodput_ratio:.1%}",
            point.verdict.value,
        )
        for point, summary in sorted(
            ((point, summary) for point, summary in points if point is not None),
            key=lambda pair: pair[0].rate_per_s,
        )
    ]


def knee_words(report: Report) -> str:
    """What a sweep found, in a sentence or two."""
    knee = report.knee
    if knee is None:
        return ""
    if knee.sustained_per_s is None:
        said = "No rate that was tried is sustained."
    elif knee.first_not_per_s is None:
        said = f"{knee.sustained_per_s:g} requests/s are sustained, and the limit was not reached."
    else:
        said = (
            f"{knee.sustained_per_s:g} requests/s are sustained; {knee.first_not_per_s:g} are not."
        )
    if knee.knee_per_s is not None:
        said += f" The knee (highest throughput over latency) is at {knee.knee_per_s:g} requests/s."
    return said


def number(value: float) -> str:
    """Three digits that matter, and all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.2f}"
