"""Curves as an SVG that reads well on light and dark pages. Pure."""

from collections.abc import Iterable, Sequence

from tests.bench.limits.curve import Allowed, Curve

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 20, 52
_COLOURS = ("#2a78b8", "#d95f02", "#1b9e77", "#7570b3")
_STYLE = (
    "text{font:13px sans-serif;fill:#777}"
    ".grid{stroke:#8884;stroke-width:1}"
    ".allowed{stroke:#888;stroke-dasharray:6 4;fill:none;stroke-width:1.5}"
    ".curve{fill:none;stroke-width:2}"
)


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
    for step in range(5):
        calls, s = most * step / 4, seconds * step / 4
        parts += [
            line([(0, calls), (seconds, calls)], "grid"),
            f'<text x="{_LEFT - 8}" y="{y(calls) + 4:.1f}" text-anchor="end">{calls:.0f}</text>',
            f'<text x="{x(s):.1f}" y="{_HEIGHT - 30}" text-anchor="middle">{s:g} s</text>',
        ]
    parts.append(line([(0, allowed.burst), (seconds, allowed.until(seconds))], "allowed"))
    legend = [("allowed: burst + rate * time", "#888")]
    for one, colour in zip(curves, _COLOURS, strict=False):
        parts.append(line(one.points, "curve", f'stroke="{colour}"'))
        processes = "1 process" if one.processes == 1 else f"{one.processes} processes"
        legend.append((f"{processes}: {one.use:.1%} of what is allowed", colour))
    for number, (text, colour) in enumerate(legend):
        at = _HEIGHT - _BOTTOM - 100 + number * 22
        parts += [
            f'<rect x="{_WIDTH - 290}" y="{at - 9}" width="18" height="4" fill="{colour}"/>',
            f'<text x="{_WIDTH - 264}" y="{at - 2}">{text}</text>',
        ]
    title = "calls admitted, at ten times the allowed load"
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{title}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
