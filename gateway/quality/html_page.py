"""A comparison as a page with plots, one file that needs nothing else. No I/O."""

from collections.abc import Iterator, Sequence

from gateway.figures.chart import Axis, Series, chart
from gateway.figures.page import charts, heading, page, paragraph, table
from gateway.figures.quantiles import cumulative
from gateway.quality.item import Item
from gateway.quality.report import Report
from gateway.quality.table import (
    FINDING_HEADERS,
    HEADERS,
    coverage_words,
    failure_rows,
    finding_rows,
    rows_of,
    verdict_words,
)

_SHOWN_CHARACTERS = 1200
_LEAST_TOKENS = 3  # at a place, to be drawn
_SMALLEST_KL = 1e-5
_CLASSES = {"fine": "big good", "worse": "big bad", "nothing measured": "big warn"}
_PERCENT = Axis("% of values up to here", low=0, high=100)


def html_of(report: Report) -> str:
    """The whole page."""
    lead = f"A: {report.a.name}. B: {report.b.name}. {report.at}. {report.tool}."
    a, b = report.names
    return page(f"{b} against {a}", lead, _parts(report))


def _parts(report: Report) -> Iterator[str]:
    yield paragraph(verdict_words(report), _CLASSES[report.verdict.kind])
    if report.is_interrupted:
        yield paragraph("It was interrupted: figures are of what was done by then.", "warn")
    for note in report.notes:
        yield paragraph(note, "warn")
    yield table(FINDING_HEADERS, finding_rows(report.verdict))
    yield heading("Figures")
    yield table(HEADERS, rows_of(report.summary))
    yield paragraph(coverage_words(report.summary), "none")
    yield charts(_charts([item for item in report.items if item.failure is None]))
    if report.worst:
        yield heading("Answers that differ most")
        rows = [
            (
                f"{i.number + 1}",
                _graded(i.a.right),
                _cut(i.a.text),
                _graded(i.b.right),
                _cut(i.b.text),
            )
            for i in report.worst
        ]
        yield table(("prompt", "", "A", "", "B"), rows, "words")
    failed = failure_rows(report)
    if failed:
        yield heading("Not answered by both")
        yield table(("prompt", "why"), failed, "words")
    yield heading("What was asked")
    yield table(("field", "value"), [(k, str(v)) for k, v in report.asked.items()], "words")


def _charts(items: Sequence[Item]) -> Iterator[str]:
    nats = [max(_SMALLEST_KL, one) for item in items for one in item.kl]
    yield chart(
        "KL divergence of single tokens",
        Axis("nats", is_log=True),
        _PERCENT,
        [Series("", cumulative(nats))],
    )
    yield chart(
        "Top-1 agreement along the answer",
        Axis("token", low=0),
        Axis("% of answers", high=100),
        [Series("", _agreement(items))],
    )
    places = [float(item.differs_at) for item in items if item.differs_at is not None]
    yield chart(
        "Where answers first differ",
        Axis("token", low=0),
        Axis("% of answers that differ", low=0, high=100),
        [Series("", cumulative(places))],
    )
    lengths = [(float(item.a.tokens), float(item.b.tokens)) for item in items]
    longest = max((max(pair) for pair in lengths), default=0.0)
    same = [Series("equal", [(0.0, 0.0), (longest, longest)])] if lengths else []
    yield chart(
        "Length of answers",
        Axis("A, tokens", low=0),
        Axis("B, tokens", low=0),
        [Series("a prompt", lengths, "dots"), *same],
    )
    for title, a, b in (
        (
            "Time to first token",
            [i.a.ttft_ms for i in items if i.a.ttft_ms is not None],
            [i.b.ttft_ms for i in items if i.b.ttft_ms is not None],
        ),
        (
            "Time per output token",
            [i.a.tpot_ms for i in items if i.a.tpot_ms is not None],
            [i.b.tpot_ms for i in items if i.b.tpot_ms is not None],
        ),
    ):
        series = [Series("A", cumulative(a)), Series("B", cumulative(b))]
        yield chart(title, Axis("ms", low=0), _PERCENT, series)


def _agreement(items: Sequence[Item]) -> list[tuple[float, float]]:
    """The percentage at each place of which there are enough."""
    longest = max((len(item.agrees) for item in items), default=0)
    points: list[tuple[float, float]] = []
    for place in range(longest):
        here = [item.agrees[place] for item in items if len(item.agrees) > place]
        if len(here) >= _LEAST_TOKENS:
            points.append((float(place), 100 * sum(here) / len(here)))
    return points


def _graded(right: bool | None) -> str:
    return "" if right is None else ("right" if right else "wrong")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " ..."
