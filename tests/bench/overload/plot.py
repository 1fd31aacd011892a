"""The share of calls answered in time at each load, as an SVG for light and dark pages. Pure."""

from collections.abc import Sequence

from tests.bench.overload.outcome import Run

_WIDTH, _HEIGHT = 760, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 44, 64
_COLOURS = {"goodput": "#888", "modest": "#2a78b8", "greedy": "#d95f02"}
_WORDS = {
    "goodput": "goodput, of capacity",
    "modest": "modest caller: calls answered in time",
    "greedy": "greedy caller: calls answered in time",
}
_NAMES = {"none": "no queue", "queue": "queue"}
_STYLE = "text{font:13px sans-serif;fill:#777}.grid{stroke:#8884;stroke-width:1}"


def plotted(runs: Sequence[Run]) -> str:
    """One group of three bars for each run, those without the queue beside those with it."""
    ordered = sorted(runs, key=lambda run: (run.load, run.name))
    inner = _WIDTH - _LEFT - _RIGHT
    group = inner / max(1, len(ordered))
    bar = group / 4

    def y(share: float) -> float:
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        ' aria-label="Goodput and calls answered in time at 1, 2 and 5 times the capacity, with'
        ' the queue and without it">',
        f"<style>{_STYLE}</style>",
    ]
    for percent in (0, 25, 50, 75, 100):
        at = y(percent / 100)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{percent} %</text>')
    for number, run in enumerate(ordered):
        left = _LEFT + number * group + bar / 2
        shares = {
            "goodput": run.goodput,
            "modest": run.served_ratio("modest"),
            "greedy": run.served_ratio("greedy"),
        }
        for place, (what, share) in enumerate(shares.items()):
            top = y(min(1.05, share))
            parts.append(
                f'<rect class="bar" x="{left + place * bar:.1f}" y="{top:.1f}"'
                f' width="{bar - 2:.1f}" height="{_HEIGHT - _BOTTOM - top:.1f}"'
                f' fill="{_COLOURS[what]}"><title>{what} {share:.1%}</title></rect>'
            )
        middle = left + 1.5 * bar
        for line, text in enumerate((f"{run.load:g}×", _NAMES[run.name])):
            parts.append(
                f'<text x="{middle:.1f}" y="{_HEIGHT - _BOTTOM + 18 + 17 * line}"'
                f' text-anchor="middle">{text}</text>'
            )
    for number, (what, words) in enumerate(_WORDS.items()):
        at = _LEFT + number * (inner / 3)
        parts.append(f'<rect x="{at:.0f}" y="14" width="14" height="10" fill="{_COLOURS[what]}"/>')
        parts.append(f'<text x="{at + 20:.0f}" y="24">{words}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
