"""Curves as an SVG that reads well on light and dark pages. Pure."""

import math
from collections.abc import Iterable, Sequence

from tests.bench.limits.curve import Allowed, Curve

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 20, 52
_COLOURS = ("#2a78b8", "#d95f02", "#1b9e77", "#7570b3")
_STYLE = (
    "text{font:13px sans-serif;fill:#777}"
    ".grid{stroke:#8884;stroke-width:1}"
    ".allowed{stroke:#000;stroke-dasharray:6 4;fill:none;stroke-width:1.5}"
    ".curve{fill:none}"
)


def ticks(most: float) -> Sequence[float]:
    """From 0 up to `most` in about five steps of 1, 2 or 5 times a power of ten."""
    rough = most / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
    return [step * number for number in range(math.floor(most / step + 1e-9) + 1)]


def plotted(curves: Sequence[Curve], allowed: Allowed, seconds: float) -> str:
    """Admitted calls over time, one curve for each number of processes."""
    most = allowed.until(seconds) * 1.08

    def x(s: float) -> float:
        return _LEFT + s / seconds * (_WIDTH - _LEFT - _RIGHT)

    def y(calls: float) -> float:
        return _HEIGHT - _BOTTOM - calls / most * (_HEIGHT - _TOP - _BOTTOM)

    def line(points: Iterable[tuple[float, float]], css: str, more: str = "") -> str:
        path = " ".join(f"{x(s):.1f},{y(calls):.1f}" for s, calls in points)
        return f'<polyline class="{css}" points="{path}" {more}/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' aria-label="Calls admitted over time by 1, 4 and 16 processes, and what is allowed">',
        f"<style>{_STYLE}</style>",
    ]
    for calls in ticks(most):
        parts.append(line([(0, calls), (seconds, calls)], "grid"))
        place = f'x="{_LEFT - 8}" y="{y(calls) + 4:.1f}"'
        parts.append(f'<text {place} text-anchor="end">{calls:g}</text>')
    for s in ticks(seconds):
        place = f'x="{x(s):.1f}" y="{_HEIGHT - 30}"'
        parts.append(f'<text {place} text-anchor="middle">{s:g} s</text>')
    legend = [("allowed: burst + rate * time (dashed)", "#000")]
    for number, (one, colour) in enumerate(zip(curves, _COLOURS, strict=False)):
        width = 2 + 3 * (len(curves) - 1 - number)  # one upon the other, all are to be seen
        parts.append(line(one.points, "curve", f'stroke="{colour}" stroke-width="{width}"'))
        processes = "1 process" if one.processes == 1 else f"{one.processes} processes"
        legend.append((f"{processes}: {one.use:.1%} of what is allowed", colour))
    parts.append(line([(0, allowed.burst), (seconds, allowed.until(seconds))], "allowed"))
    for number, (text, colour) in enumerate(legend):
        at = _HEIGHT - _BOTTOM - 100 + number * 22
        parts += [
            f'<rect x="{_WIDTH - 330}" y="{at - 9}" width="18" height="4" fill="{colour}"/>',
            f'<text x="{_WIDTH - 304}" y="{at - 2}">{text}</text>',
        ]
    title = "calls admitted, at ten times the allowed load"
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{title}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
