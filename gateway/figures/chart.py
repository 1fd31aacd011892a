"""Line charts as SVG that stands alone: no script, no font, no file beside it. No I/O.

Colours are those of Okabe and Ito, "Color universal design" (2008), which people with any colour
vision tell apart; the page's style sheet sets what differs between light and dark.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.figures.ticks import linear_ticks, log_ticks, tick_text

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MAX_DOTS = 1500
_WIDTH, _HEIGHT = 640, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 34, 78
_LEGEND_ITEM_CHARACTERS = 7.2  # pixels that a character takes at most

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """Points in order of x. `dots` are thinned out beyond MAX_DOTS."""

    label: str
    points: Sequence[Point]
    style: Literal["line", "steps", "dots"] = "line"


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows. Bounds that are None follow the values."""

    label: str
    is_log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A line at one value: vertical at an x, horizontal at a y."""

    label: str
    at: float
    axis: Literal["x", "y"] = "y"


@dataclass(frozen=True, slots=True)
class _Scale:
    ticks: tuple[float, ...]
    start: float
    length: float
    is_log: bool

    def at(self, value: float) -> float:
        """Where a value lies, in pixels; values outside lie on the edge."""
        low, high, value = (self._bent(one) for one in (self.ticks[0], self.ticks[-1], value))
        part = min(1.0, max(0.0, (value - low) / (high - low)))
        return self.start + part * self.length

    def _bent(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.is_log else value


def chart(
    title: str, x: Axis, y: Axis, series: Sequence[Series], marks: Sequence[Mark] = ()
) -> str:
    """One chart as an `<svg>` element; a sentence in place of one when there are no points."""
    drawn = [one for one in series if one.points]
    if not drawn:
        return f'<p class="none">{html.escape(title)}: nothing to show.</p>'
    along = [point[0] for one in drawn for point in one.points]
    up = [point[1] for one in drawn for point in one.points]
    along += [mark.at for mark in marks if mark.axis == "x"]
    up += [mark.at for mark in marks if mark.axis == "y"]
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    across = _Scale(_ticks(x, along), _LEFT, plot_width, x.is_log)
    upward = _Scale(_ticks(y, up), _HEIGHT - _BOTTOM, -plot_height, y.is_log)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        _text(_LEFT, 18, title, "title"),
        *_grid(across, upward, x, y),
        *(
            shape
            for number, one in enumerate(drawn)
            for shape in _drawn(one, COLORS[number % len(COLORS)], across, upward)
        ),
        *(shape for mark in marks for shape in _marked(mark, across, upward)),
        *_legend(drawn),
        "</svg>",
    ]
    return "\n".join(parts)


def _ticks(axis: Axis, values: Sequence[float]) -> tuple[float, ...]:
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    if not axis.is_log:
        return linear_ticks(low, high)
    above_zero = [value for value in values if value > 0] or [1.0]
    return log_ticks(max(low, min(above_zero)), max(high, min(above_zero)))


def _grid(across: _Scale, upward: _Scale, x: Axis, y: Axis) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    lines: list[str] = []
    for tick in upward.ticks:
        at = upward.at(tick)
        lines.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{right}"/>')
        lines.append(_text(_LEFT - 6, at + 4, tick_text(tick), "end"))
    for tick in across.ticks:
        at = across.at(tick)
        lines.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>')
        lines.append(_text(at, bottom + 16, tick_text(tick), "mid"))
    lines.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    lines.append(_text((_LEFT + right) / 2, bottom + 34, x.label, "mid"))
    middle = (_TOP + bottom) / 2
    lines.append(
        f'<text class="mid" transform="translate(15 {middle:.1f}) rotate(-90)">'
        f"{html.escape(y.label)}</text>"
    )
    return lines


def _drawn(series: Series, color: str, across: _Scale, upward: _Scale) -> list[str]:
    points = [(across.at(x), upward.at(y)) for x, y in thinned(series.points, MAX_DOTS)]
    match series.style:
        case "dots":
            return [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{color}" fill-opacity=".55"/>'
                for x, y in points
            ]
        case "steps":
            path = f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(
                f"H{x:.1f}V{y:.1f}" for x, y in points[1:]
            )
            return [f'<path class="line" d="{path}" stroke="{color}"/>']
        case _:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            shapes = [f'<path class="line" d="{path}" stroke="{color}"/>']
            if len(points) <= 30:
                shapes += [
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points
                ]
            return shapes


def thinned(points: Sequence[Point], limit: int) -> Sequence[Point]:
    """At most about `limit` of them, evenly chosen."""
    if len(points) <= limit:
        return points
    return [points[i * len(points) // limit] for i in range(limit)]


def _marked(mark: Mark, across: _Scale, upward: _Scale) -> list[str]:
    if mark.axis == "x":
        at = across.at(mark.at)
        return [
            f'<path class="mark" d="M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>',
            _text(at + 4, _TOP + 12, mark.label, "note"),
        ]
    at = upward.at(mark.at)
    return [
        f'<path class="mark" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>',
        _text(_WIDTH - _RIGHT - 4, at - 4, mark.label, "note end"),
    ]


def _legend(series: Sequence[Series]) -> list[str]:
    if len(series) == 1 and not series[0].label:
        return []
    parts: list[str] = []
    left, top = float(_LEFT), _HEIGHT - 22
    for number, one in enumerate(series):
        width = 24 + _LEGEND_ITEM_CHARACTERS * len(one.label)
        if left + width > _WIDTH and left > _LEFT:
            left, top = float(_LEFT), top + 16
        color = COLORS[number % len(COLORS)]
        parts.append(f'<rect x="{left:.0f}" y="{top - 9}" width="12" height="10" fill="{color}"/>')
        parts.append(_text(left + 17, top, one.label))
        left += width
    return parts


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
