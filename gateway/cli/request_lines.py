"""The request log as it is read back: what a line is, and which ones are asked for. Pure."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.request_line import RequestLine


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
