"""How an output is logged to: JSON for machines, text for people, with colours on a terminal.

Each output decides for itself: where stdout goes to a file and stderr to a terminal, the request
log is JSON and changes of state are text.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Literal, TextIO

LogFormat = Literal["auto", "json", "text"]


class LogStyle(Enum):
    """What a line looks like."""

    JSON = "json"
    TEXT = "text"
    COLOURED = "coloured"


def style_of(log_format: LogFormat, output: TextIO, environ: Mapping[str, str]) -> LogStyle:
    """`auto`: text where the output is a terminal. `NO_COLOR` and `TERM=dumb` hold."""
    is_terminal = output.isatty()
    if log_format == "json" or (log_format == "auto" and not is_terminal):
        return LogStyle.JSON
    is_plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return LogStyle.COLOURED if is_terminal and not is_plain else LogStyle.TEXT
