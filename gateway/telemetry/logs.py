"""Logging, as JSON lines or as text: the message is a constant event name, facts are fields.

State changes go through `logging`. The line of a request is written by `RequestLog`, which
does without a LogRecord: it is the only line whose cost counts.
"""

import logging
import sys
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec
from typing_extensions import override

from gateway.telemetry.log_style import LogStyle
from gateway.telemetry.readable import line_of, told, told_event
from gateway.telemetry.request_line import RequestLine

if TYPE_CHECKING:
    import asyncio

# what every record has, and what uvicorn adds for its own formatter
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class BytesOutput(Protocol):
    """Takes whole lines, such as `sys.stdout.buffer.raw`."""

    def write(self, line: bytearray, /) -> object: ...


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "event", ...fields}`, one line each."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(_fields(self, record), enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """One readable line each; the stack of a failure below it."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    @override
    def format(self, record: logging.LogRecord) -> str:
        return line_of(told_event(_fields(self, record)), coloured=self._coloured)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = {
        "time": round(record.created, 3),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
    }
    line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
    if record.exc_info:
        line["exception"] = formatter.formatException(record.exc_info)
    return line


def configure_logging(
    level: str, style: LogStyle = LogStyle.JSON, output: TextIO | None = None
) -> None:
    """Send everything that is logged in this process to `output` (stderr), one line each."""
    handler = logging.StreamHandler(output or sys.stderr)
    is_json = style is LogStyle.JSON
    handler.setFormatter(
        JsonFormatter() if is_json else TextFormatter(coloured=style is LogStyle.COLOURED)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn.access", "httpx", "httpcore", "watchfiles"):
        logging.getLogger(name).setLevel(logging.WARNING)


class RequestLog:
    """Writes one line for each request. A full disk or a closed pipe loses lines, not requests.

    With a `loop`, lines of calls that end in the same turn of it are written together.
    """

    def __init__(self, output: BytesOutput, style: LogStyle = LogStyle.JSON) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._output = output
        self._style = style
        self._encode = msgspec.json.Encoder().encode
        self._lines = bytearray()

    def write(self, line: RequestLine) -> bytes:
        """The line as JSON, without its end, however it is written."""
        is_first = not self._lines
        encoded = self._encode(line)
        if self._style is LogStyle.JSON:
            self._lines += encoded
        else:
            is_coloured = self._style is LogStyle.COLOURED
            self._lines += line_of(told(line), coloured=is_coloured).encode()
        self._lines += b"\n"
        if self.loop is None:
            self.flush()
        elif is_first:
            self.loop.call_soon(self.flush)
        return encoded

    def flush(self) -> None:
        """Write what is waiting."""
        lines, self._lines = self._lines, bytearray()
        if not lines:
            return
        try:
            self._output.write(lines)
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
