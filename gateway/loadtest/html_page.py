"""A load test as a page with plots, one file that needs nothing else. No I/O."""

from collections.abc import Callable, Iterator, Sequence

from gateway.figures.chart import Axis, Mark, Series, chart
from gateway.figures.page import charts, heading, page, paragraph, table
from gateway.figures.quantiles import Spread, cumulative
from gateway.loadtest.arrivals import ClosedLoop
from gateway.loadtest.report import Report
from gateway.loadtest.summary import Summary, in_flight
from gateway.loadtest.sweep import Point, power
from gateway.loadtest.table import (
    LATENCY_HEADERS,
    SWEEP_HEADERS,
    fact_rows,
    failure_rows,
    knee_words,
    latency_rows,
    sweep_rows,
)
from gateway.loadtest.trial import Trial

_BINS = 60


def html_of(report: Report) -> str:
    """The whole page."""
    lead = f"{report.url}, {report.operation}, {report.at}, seed {report.seed}. {report.tool}."
    return page(f"Load test of {report.model}", lead, _parts(report))


def _parts(report: Report) -> Iterator[str]:
    if report.is_interrupted:
        yield paragraph("The test was interrupted: figures are of what had ended by then.", "warn")
    for words in report.warnings + report.notes:
        yield paragraph(words, "warn")
    if report.slo.is_given:
        yield paragraph(f"Objective: {report.slo}.")
    if report.is_sweep:
        yield paragraph(knee_words(report), "big")
        yield table(SWEEP_HEADERS, sweep_rows(report))
        yield charts(_sweep_charts(report))
    for test in report.tests:
        yield heading(test.words)
        if latencies := latency_rows(test.summary):
            yield table(LATENCY_HEADERS, latencies)
        yield table(("figure", "value"), fact_rows(test), "words")
        if not report.is_sweep:
            yield charts(_test_charts(test, report))
    failed = failure_rows(report.tests)
    if failed:
        yield heading("Failures")
        where = ("load",) if len(report.tests) > 1 else ()
        yield table((*where, "count", "what", "the first one's words"), failed, "words")
    yield heading("What was asked")
    yield table(("field", "value"), [(k, str(v)) for k, v in report.prompts.items()], "words")
    yield paragraph(
        "Percentiles are of whole answers. In an open loop latency counts from the intended "
        "start of a request, so waiting that the endpoint causes is never left out.",
        "none",
    )


def _test_charts(test: Trial, report: Report) -> Iterator[str]:
    whole = [outcome for outcome in test.outcomes if outcome.is_whole]
    slo = report.slo
    ttft = [1000 * one.ttft_s for one in whole if one.ttft_s is not None]
    yield _distribution("Time to first token", ttft, slo.ttft_ms)
    gaps = [1000 * gap for one in whole for gap in one.gaps_s()]
    yield _distribution("Between tokens", gaps, slo.itl_ms)
    yield _distribution("Whole answer", [1000 * one.e2e_s for one in whole], slo.e2e_ms)
    yield chart(
        "First token over the test",
        Axis("intended start, s", low=0),
        Axis("ms", low=0),
        [
            Series(
                "time to first token",
                [(o.intended_s, 1000 * o.ttft_s) for o in whole if o.ttft_s is not None],
                "dots",
            ),
            *_failed_dots(test),
        ],
        _limit(slo.ttft_ms),
    )
    open_now = [(at_s, float(count)) for at_s, count in in_flight(test.outcomes)]
    yield chart(
        "Requests in flight",
        Axis("s", low=0),
        Axis("requests", low=0),
        [Series("", open_now, "steps")],
    )
    yield chart(
        "Output",
        Axis("s", low=0),
        Axis("events with content per second", low=0),
        [Series("", _per_second(test), "steps")],
    )
    if not isinstance(test.load, ClosedLoop):
        lags = [1000 * one.lag_s for one in test.outcomes]
        yield _distribution("Sent late by this client", lags, None)


def _failed_dots(test: Trial) -> list[Series]:
    failed = [(one.intended_s, 0.0) for one in test.outcomes if not one.is_whole]
    return [Series("failed", failed, "dots")] if failed else []


def _distribution(title: str, values: Sequence[float], limit_ms: float | None) -> str:
    is_log = bool(values) and max(values) > 50 * max(min(values), 0.01)
    marks = [] if limit_ms is None else [Mark("objective", limit_ms, "x")]
    return chart(
        title,
        Axis("ms", is_log=is_log, low=None if is_log else 0),
        Axis("% of values up to here", low=0, high=100),
        [Series("", cumulative(values))],
        marks,
    )


def _per_second(test: Trial) -> list[tuple[float, float]]:
    times = [at_s for outcome in test.outcomes for at_s in outcome.times_s]
    if not times:
        return []
    width_s = max(max(times) / _BINS, 1e-6)
    counts = [0] * (_BINS + 1)
    for at_s in times:
        counts[int(at_s / width_s)] += 1
    return [(i * width_s, count / width_s) for i, count in enumerate(counts)]


def _sweep_charts(report: Report) -> Iterator[str]:
    points = sorted((p for t in report.tests if (p := t.point)), key=lambda p: p.rate_per_s)
    rate = Axis("offered, requests/s", low=0)
    knee = report.knee
    marks = []
    if knee is not None and knee.sustained_per_s is not None:
        marks.append(Mark("sustained", knee.sustained_per_s, "x"))
    yield chart(
        "Throughput",
        rate,
        Axis("requests/s", low=0),
        [
            Series("served", _along(points, lambda s: s.served_per_s)),
            *_goodput(points),
            Series("offered", [(p.rate_per_s, p.rate_per_s) for p in points]),
        ],
        marks,
    )
    for title, of, limit in (
        ("Time to first token", lambda s: s.ttft_ms, report.slo.ttft_ms),
        ("Between tokens", lambda s: s.itl_ms, report.slo.itl_ms),
        ("Whole answer", lambda s: s.e2e_ms, report.slo.e2e_ms),
    ):
        yield _percentiles(title, rate, points, of, (*marks, *_limit(limit)))
    tokens = Series("", _along(points, lambda s: s.completion_tokens_per_s))
    yield chart("Output tokens", rate, Axis("tokens/s", low=0), [tokens], marks)
    yield chart(
        "Power: throughput over latency",
        rate,
        Axis("requests/s per second of latency", low=0),
        [Series("", _along(points, power))],
        [Mark("knee", knee.knee_per_s, "x")] if knee and knee.knee_per_s is not None else [],
    )


def _percentiles(
    title: str,
    rate: Axis,
    points: Sequence[Point],
    of: Callable[[Summary], Spread | None],
    marks: Sequence[Mark],
) -> str:
    spreads = [(point.rate_per_s, spread) for point in points if (spread := of(point.summary))]
    is_log = bool(spreads) and max(s.p99 for _, s in spreads) > 50 * min(s.p50 for _, s in spreads)
    series = [
        Series("p50", [(at, spread.p50) for at, spread in spreads]),
        Series("p95", [(at, spread.p95) for at, spread in spreads]),
        Series("p99", [(at, spread.p99) for at, spread in spreads]),
    ]
    return chart(title, rate, Axis("ms", is_log=is_log, low=None if is_log else 0), series, marks)


def _goodput(points: Sequence[Point]) -> list[Series]:
    met = [(p.rate_per_s, good) for p in points if (good := p.summary.goodput_per_s) is not None]
    return [Series("goodput", met)] if met else []


def _along(points: Sequence[Point], of: Callable[[Summary], float]) -> list[tuple[float, float]]:
    return [(point.rate_per_s, of(point.summary)) for point in points]


def _limit(limit_ms: float | None) -> list[Mark]:
    return [] if limit_ms is None else [Mark("objective", limit_ms)]
