"""The request log for people: which lines are asked for, and how one reads. Pure.

What clients can put into a line (names of models, ids) is shown without control characters: a
terminal would obey them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from rich.text import Text

from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.request_line import RequestLine

_STYLES = {"ok": "green", "client_error": "yellow", "client_gone": "dim"}
_OTHERS = ("time", "level", "event", "logger")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; empty or None is anything. All of it must hold.

    `models` are globs over model and variant; `statuses` are such as `429` or `5xx`.
    """

    models: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    request_ids: tuple[str, ...] = ()
    min_duration_ms: float | None = None
    failed: bool = False

    @property
    def is_all(self) -> bool:
        return self == Wanted()

    def has(self, line: RequestLine) -> bool:
        return (
            _fits(self.models, line.model, line.variant)
            and _fits(self.replicas, line.replica)
            and _fits(self.callers, line.caller)
            and _fits(self.statuses, str(line.status), f"{line.status // 100}xx")
            and _fits(self.outcomes, line.outcome)
            and _fits(self.request_ids, line.request_id)
            and (self.min_duration_ms is None or line.duration_ms >= self.min_duration_ms)
            and not (self.failed and line.outcome == "ok")
        )


def _fits(patterns: tuple[str, ...], *names: str | None) -> bool:
    return not patterns or any(
        fnmatchcase(name, pattern) for name in names if name for pattern in patterns
    )


def read(line: bytes) -> RequestLine | dict[str, Any] | None:
    """A call; or another event, as its fields; None when it is no line of our logs."""
    try:
        found = msgspec.json.decode(line)
        if not isinstance(found, dict) or "event" not in found:
            return None
        return msgspec.convert(found, RequestLine) if found["event"] == F.REQUEST else found
    except msgspec.MsgspecError:
        return None


def told(line: RequestLine) -> Text:
    """One call, in one line."""
    text = Text()
    text.append(_when(line.time), style="dim")
    text.append(f" {line.status}", style=_STYLES.get(line.outcome, "bold red"))
    text.append(f" {_ms(line.duration_ms):>8}")
    where = " ".join(filter(None, (line.variant or line.model or "-", line.replica)))
    text.append(f" {plain(where)}", style="bold")
    for name, value in _facts(line):
        text.append(f" {name} ", style="dim")
        text.append(plain(value))
    if line.outcome != "ok":
        text.append(f" {line.outcome}", style=_STYLES.get(line.outcome, "bold red"))
        cause = ": ".join(filter(None, (line.error_code, line.error_cause)))
        text.append(f" {plain(cause)}")
    text.append(f" {plain(line.request_id)}", style="dim")
    return text


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


def told_event(event: dict[str, Any]) -> Text:
    """Anything else that the gateway logs."""
    text = Text()
    time = event.get("time")
    text.append(_when(time) if isinstance(time, int | float) else "-", style="dim")
    is_bad = event.get("level") in ("warning", "error", "critical")
    text.append(f" {plain(str(event['event']))}", style="yellow" if is_bad else "")
    for name, value in event.items():
        if name not in _OTHERS:
            text.append(f" {plain(name)} ", style="dim")
            text.append(plain(str(value)))
    return text


def plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _when(unix_s: float) -> str:
    moment = datetime.fromtimestamp(unix_s, UTC).astimezone()
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


def _ms(value: float) -> str:
    return f"{value / 1000:.2f}s" if value >= 1000 else f"{value:.0f}ms"
