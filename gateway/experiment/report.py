"""The routing experiment's results: rows of a table, and charts. No I/O."""

from collections.abc import Iterator, Sequence
from typing import Literal

from gateway.experiment.figures import Figures
from gateway.figures.chart import Axis, Series, chart
from gateway.figures.page import charts, heading, page, table
from gateway.figures.svg_file import standalone

HEADERS = (
    "workload",
    "replicas",
    "router",
    "calls",
    "failed",
    "TTFT p50",
    "p95",
    "p99 ms",
    "tokens/s",
    "cache hits",
    "imbalance",
)
_SHOWN: tuple[tuple[str, Literal["p50", "p99"]], ...] = (
    ("Median time to first token", "p50"),
    ("Time to first token, 99th percentile", "p99"),
)


def rows(figures: Sequence[Figures]) -> list[tuple[str, ...]]:
    """One for each run, those of one workload and fleet together."""
    return [_row(one) for one in figures]


def _row(one: Figures) -> tuple[str, ...]:
    ttft = one.ttft_ms
    times = ("", "", "") if ttft is None else tuple(map(_ms, (ttft.p50, ttft.p95, ttft.p99)))
    return (
        one.workload,
        str(one.replicas),
        one.router,
        str(one.calls),
        str(one.failed),
        *times,
        f"{one.tokens_per_s:.0f}",
        f"{one.hit_ratio:.0%}",
        f"{one.imbalance:.2f}",
    )


def _ms(value: float) -> str:
    return f"{value:.0f}"


def markdown_of(figures: Sequence[Figures]) -> str:
    """The table as Markdown."""
    lines = [HEADERS, ("---",) * len(HEADERS), *rows(figures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def html_of(figures: Sequence[Figures], lead: str) -> str:
    """A page with the table, and a chart of each workload over the fleets' sizes."""
    workloads = list(dict.fromkeys(one.workload for one in figures))
    parts: list[str] = []
    for title, name in _SHOWN:
        parts += [heading(title), charts(_chart(figures, one, title, name) for one in workloads)]
    parts += [heading("All figures"), table(HEADERS, rows(figures))]
    return page("Routing policies compared", lead, parts)


def plots_of(figures: Sequence[Figures]) -> Iterator[tuple[str, str]]:
    """Names of files, and an SVG for each: the 99th percentile of each workload."""
    for workload in dict.fromkeys(one.workload for one in figures):
        title, name = _SHOWN[1]
        yield f"routing-{workload}.svg", standalone(_chart(figures, workload, title, name))


def _chart(
    figures: Sequence[Figures], workload: str, title: str, name: Literal["p50", "p99"]
) -> str:
    mine = [one for one in figures if one.workload == workload and one.ttft_ms is not None]
    series = [
        Series(
            router,
            [
                (float(one.replicas), getattr(one.ttft_ms, name))
                for one in mine
                if one.router == router
            ],
        )
        for router in dict.fromkeys(one.router for one in mine)
    ]
    return chart(f"{title}: {workload}", Axis("replicas", is_log=True), Axis("ms", low=0.0), series)
