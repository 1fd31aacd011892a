"""Logs for people: how a call and a change of state read in one line. Pure.

What clients can put into a line (names of models, ids) is shown without control characters: a
terminal would obey them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateway.telemetry.request_line import RequestLine

_STYLES = {"ok": "green", "client_error": "yellow", "client_gone": "dim"}
_BAD = "bold red"
_OTHERS = ("time", "level", "event", "logger", "exception")
_CODES = {"green": "32", "yellow": "33", "dim": "2", "bold": "1", _BAD: "1;31"}


class Piece(NamedTuple):
    """A part of a line. `style`: empty, dim, bold, green, yellow or bold red."""

    text: str
    style: str = ""


def told(line: RequestLine) -> list[Piece]:
    """One call."""
    style = _STYLES.get(line.outcome, _BAD)
    pieces = [
        Piece(_when(line.time), "dim"),
        Piece(f" {line.status}", style),
        Piece(f" {_ms(line.duration_ms):>8}"),
    ]
    where = " ".join(filter(None, (line.variant or line.model or "-", line.replica)))
    pieces.append(Piece(f" {plain(where)}", "bold"))
    for name, value in _facts(line):
        pieces += (Piece(f" {name} ", "dim"), Piece(plain(value)))
    if line.outcome != "ok":
        pieces.append(Piece(f" {line.outcome}", style))
        cause = ": ".join(filter(None, (line.error_code, line.error_cause)))
        pieces.append(Piece(f" {plain(cause)}"))
    pieces.append(Piece(f" {plain(line.request_id)}", "dim"))
    return pieces


def _facts(line: RequestLine) -> list[tuple[str, str]]:
    found: list[tuple[str, object]] = [
        ("key", line.caller),
        ("ttft", None if line.ttft_ms is None else _ms(line.ttft_ms)),
        ("in", line.prompt_tokens),
        ("cached", line.cached_tokens),
        ("out", line.completion_tokens),
        ("attempts", line.attempts if line.attempts > 1 else None),
        ("chosen", line.chosen),
        ("hedge", line.hedge),
        ("resumes", line.resumes),
        ("finish", line.finish_reason),
    ]
    return [(name, str(value)) for name, value in found if value is not None]


def told_event(event: Mapping[str, Any]) -> list[Piece]:
    """Anything else that the gateway logs: a change of state, an audit, a failure."""
    time = event.get("time")
    level = str(event.get("level"))
    style = "yellow" if level == "warning" else _BAD if level in ("error", "critical") else ""
    pieces = [
        Piece(_when(time) if isinstance(time, int | float) else "-", "dim"),
        Piece(f" {plain(str(event['event']))}", style),
    ]
    for name, value in event.items():
        if name not in _OTHERS:
            pieces += (Piece(f" {plain(name)} ", "dim"), Piece(plain(str(value))))
    for stack_line in str(event.get("exception", "")).splitlines():
        pieces.append(Piece(f"\n    {plain(stack_line)}", "dim"))
    return pieces


def plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def line_of(pieces: list[Piece], *, coloured: bool) -> str:
    """As a terminal shows it."""
    if not coloured:
        return "".join(piece.text for piece in pieces)
    return "".join(
        f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style else text for text, style in pieces
    )


def _when(unix_s: float) -> str:
    moment = datetime.fromtimestamp(unix_s, UTC).astimezone()
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


def _ms(value: float) -> str:
    return f"{value / 1000:.2f}s" if value >= 1000 else f"{value:.0f}ms"
