"""Rows as lines, as one table of medians, and as data."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich import box
from rich.table import Table

from tests.bench.processes import Cores
from tests.bench.rows import Row, RowName

Figures = Mapping[str, float]

_TITLES = {
    RowName.REQUESTS: "1 KB requests",
    RowName.LARGE_BODIES: "220 KB requests",
    RowName.STREAMS: "200 streams",
    RowName.MANY_STREAMS: "1,000 streams",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. Each key is a figure, and `form` says how they are shown."""

    row: RowName
    title: str
    form: str


LINES = (
    Line(
        RowName.REQUESTS,
        "CPU per request (user + system), us",
        "{cpu_us:.0f} ({user_us:.0f} + {system_us:.0f})",
    ),
    Line(RowName.REQUESTS, "requests/s, 32 connections", "{requests_per_s:,.0f}"),
    Line(
        RowName.REQUESTS,
        "latency p50 / p99, 1 connection, ms",
        "{latency_p50_ms:.2f} / {latency_p99_ms:.2f}",
    ),
    Line(RowName.REQUESTS, "RSS, MB", "{rss_mb:.0f}"),
    Line(
        RowName.LARGE_BODIES,
        "CPU per request (user + system), us",
        "{cpu_us:.0f} ({user_us:.0f} + {system_us:.0f})",
    ),
    Line(RowName.LARGE_BODIES, "more than for 1 KB, us", "{extra_us:+.0f}"),
    Line(RowName.LARGE_BODIES, "requests/s, 32 connections", "{requests_per_s:,.0f}"),
    Line(
        RowName.STREAMS,
        "CPU per chunk (user + system), us",
        "{cpu_us_per_chunk:.1f} ({user_us_per_chunk:.1f} + {system_us_per_chunk:.1f})",
    ),
    Line(
        RowName.STREAMS,
        "time to first token p50 / p99, ms",
        "{ttft_p50_ms:.1f} / {ttft_p99_ms:.1f}",
    ),
    Line(RowName.STREAMS, "chunks missing", "{chunks_missing:.0f}"),
    Line(
        RowName.MANY_STREAMS,
        "chunk later than sent p50 / p99 / max, ms",
        "{late_p50_ms:.1f} / {late_p99_ms:.1f} / {late_max_ms:.1f}",
    ),
    Line(
        RowName.MANY_STREAMS,
        "... without a gateway, ms",
        "{direct_late_p50_ms:.1f} / {direct_late_p99_ms:.1f} / {direct_late_max_ms:.1f}",
    ),
    Line(
        RowName.MANY_STREAMS,
        "... the gateway's part, ms",
        "{added_late_p50_ms:.1f} / {added_late_p99_ms:.1f} / {added_late_max_ms:.1f}",
    ),
    Line(RowName.MANY_STREAMS, "CPU per chunk, us", "{cpu_us_per_chunk:.1f}"),
    Line(RowName.MANY_STREAMS, "chunks missing", "{chunks_missing:.0f}"),
    Line(RowName.MANY_STREAMS, "RSS, MB", "{rss_mb:.0f}"),
)


def medians(rows: Iterable[Row]) -> dict[tuple[str, RowName], Figures]:
    """Each candidate's medians over the repeats of a row; repeats that failed do not count."""
    kept: dict[tuple[str, RowName], list[Figures]] = {}
    for row in rows:
        if row.error is None:
            kept.setdefault((row.candidate, row.name), []).append(row.figures)
    found: dict[tuple[str, RowName], Figures] = {}
    for place, repeats in kept.items():
        found[place] = {name: median(one[name] for one in repeats) for name in repeats[0]}
    for (candidate, name), figures in found.items():
        small = found.get((candidate, RowName.REQUESTS))
        if name is RowName.LARGE_BODIES and small is not None:
            extra = {"extra_us": figures["cpu_us"] - small["cpu_us"]}
            found[candidate, name] = {**figures, **extra}
    return found


def line(row: Row) -> str:
    """One measured row, for whoever waits."""
    start = f"{_TITLES[row.name]}, {row.candidate}: "
    if row.error is not None:
        return f"{start}FAILED: {row.error}"
    shown = _shown(row.figures)
    cells = (
        f"{one.title} {text}"
        for one in LINES
        if one.row is row.name and (text := _cell(one, shown))
    )
    return start + "; ".join(cells)


def table(rows: Sequence[Row]) -> Table:
    """The medians, a column for each candidate; it can be pasted as Markdown."""
    found = medians(rows)
    candidates = list(dict.fromkeys(row.candidate for row in rows))
    drawn = Table(box=box.MARKDOWN)
    drawn.add_column("load", no_wrap=True)
    drawn.add_column("figure", no_wrap=True)
    for candidate in candidates:
        drawn.add_column(candidate, justify="right", no_wrap=True)
    measured = {row.name for row in rows}
    for one in LINES:
        if one.row in measured:
            cells = (
                _cell(one, _shown(found.get((name, one.row), {}))) or "-" for name in candidates
            )
            drawn.add_row(_TITLES[one.row], one.title, *cells)
    return drawn


def as_data(rows: Sequence[Row], cores: Cores, repeat: int) -> dict[str, object]:
    """Everything, for other programs: the machine, every row and the medians."""
    return {
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "pinned_apart": cores.are_apart,
            "python": platform.python_version(),
            "kernel": platform.release(),
        },
        "repeat": repeat,
        "rows": [asdict(row) for row in rows],
        "medians": [
            {"candidate": candidate, "name": name, "figures": dict(figures)}
            for (candidate, name), figures in medians(rows).items()
        ],
    }


def _shown(figures: Figures) -> Figures:
    return {
        **figures,
        **{
            name.removesuffix("_us") + "_ms": value / 1000
            for name, value in figures.items()
            if name.startswith("latency")
        },
    }


def _cell(one: Line, figures: Figures) -> str:
    """Empty where a figure is not known."""
    try:
        return one.form.format_map(figures)
    except KeyError:
        return ""


def _cpu_name() -> str:
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.machine()
