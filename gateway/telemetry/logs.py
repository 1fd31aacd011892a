"""Logging as JSON lines: the message is a constant event name, facts are fields.

State changes go through `logging`. The line of a request is written by `RequestLog`, which
does without a LogRecord: it is the only line whose cost counts.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Protocol

import msgspec
from typing_extensions import override

from gateway.clock import Clock

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

Value = str | int | float | bool | None | list[str]


class LineOutput(Protocol):
    """Takes whole lines of text, such as `sys.stderr`."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "event", ...fields}`, one line each."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure_logging(level: str, output: LineOutput | None = None) -> None:
    """Send everything that is logged in this process to `output` (stderr) as JSON lines."""
    handler = logging.StreamHandler(output or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn.access", "httpx", "httpcore", "watchfiles"):
        logging.getLogger(name).setLevel(logging.WARNING)


class RequestLog:
    """Writes one line for each request. A full disk or a closed pipe loses lines, not requests."""

    def __init__(self, output: LineOutput, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode

    def write(self, event: str, fields: Mapping[str, Value]) -> None:
        """Fields that are None are left out."""
        line: dict[str, Value] = {
            "time": round(self._clock.unix_s(), 3),
            "level": "info",
            "event": event,
        }
        line |= {name: value for name, value in fields.items() if value is not None}
        try:
            self._output.write(self._encode(line).decode() + "\n")
            self._output.flush()
        except (OSError, ValueError):
            return
