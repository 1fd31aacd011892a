"""Logging as JSON lines: the message is a constant event name, facts are fields.

State changes go through `logging`. The line of a request is written by `RequestLog`, which
does without a LogRecord: it is the only line whose cost counts.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Protocol, TextIO

import msgspec
from typing_extensions import override

from gateway.clock import Clock

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

Value = str | int | float | bool | None | list[str]


class BytesOutput(Protocol):
    """Takes whole lines, such as `sys.stdout.buffer.raw`."""

    def write(self, line: bytearray, /) -> object: ...


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


def configure_logging(level: str, output: TextIO | None = None) -> None:
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

    def __init__(self, output: BytesOutput, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode_into
        self._line = bytearray()

    def write(self, event: str, fields: Mapping[str, Value]) -> None:
        """Fields that are None are left out."""
        line: dict[str, Value] = {
            "time": round(self._clock.unix_s(), 3),
            "level": "info",
            "event": event,
        }
        for name, value in fields.items():
            if value is not None:
                line[name] = value  # noqa: PERF403  # a comprehension needs a second dictionary
        self._encode(line, self._line)
        self._line += b"\n"
        try:
            self._output.write(self._line)
        except (OSError, ValueError):
            return


def unbuffered(stream: TextIO) -> BytesOutput:
    """The bytes beneath a text stream such as `sys.stdout`, written at once."""
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        return _Encoded(stream)
    raw: BytesOutput = getattr(buffer, "raw", buffer)
    return raw


class _Encoded:
    """A text stream without bytes beneath."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: bytes | bytearray, /) -> object:
        return self._stream.write(line.decode())
