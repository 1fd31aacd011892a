"""A report as one HTML file that opens anywhere: no script, no asset, nothing fetched. No I/O."""

import html
from collections.abc import Iterable, Sequence

INKS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d9dee3;
  --back: #fff; --good: #00724f; --bad: #b3261e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a3adb8;
  --line: #39424c; --back: #15191e; --good: #4fc69a; --bad: #ff8a80; --warn: #f0b95a; } }
"""
CHART_STYLE = """
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .title { font-weight: 600; font-size: 13px; } svg .end { text-anchor: end; }
svg .mid { text-anchor: middle; } svg .note { fill: var(--soft); }
svg .grid { stroke: var(--line); fill: none; stroke-width: .7; }
svg .axis { stroke: var(--soft); fill: none; } svg .line { fill: none; stroke-width: 2; }
svg .mark { stroke: var(--bad); stroke-dasharray: 5 4; fill: none; }
"""
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.lead { color: var(--soft); margin-top: 0; }
.table { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  font-variant-numeric: tabular-nums; vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
table.words th, table.words td { text-align: left; } table.words td { overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 1rem; }
svg { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.big { font-size: 1.25rem; font-weight: 600; } .none { color: var(--soft); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font-size: 13px; }
details { margin: .5rem 0; }
"""


def page(title: str, lead: str, parts: Iterable[str]) -> str:
    """The whole file. `parts` are HTML already; title and lead are text."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{INKS}{_STYLE}{CHART_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="lead">{html.escape(lead)}</p>\n'
        f"{body}\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """`kind`: the class of the style sheet, such as good, bad, warn or big."""
    named = f' class="{kind}"' if kind else ""
    return f"<p{named}>{html.escape(text)}</p>"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of text; its first column is on the left, or all with `kind` words."""
    head = "".join(f"<th>{html.escape(one)}</th>" for one in headers)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    named = f' class="{kind}"' if kind else ""
    return (
        f'<div class="table"><table{named}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def charts(drawn: Iterable[str]) -> str:
    """Charts beside one another where there is room."""
    return '<div class="charts">\n' + "\n".join(drawn) + "\n</div>"
