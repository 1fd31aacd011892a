import io

import pytest
from typing_extensions import override

from gateway.telemetry.log_style import LogFormat, LogStyle, style_of


class Output(io.StringIO):
    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    @override
    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "environ", "style"),
    [
        ("auto", True, {"TERM": "xterm"}, LogStyle.COLOURED),
        ("auto", False, {}, LogStyle.JSON),
        ("auto", True, {"NO_COLOR": "1"}, LogStyle.TEXT),
        ("auto", True, {"NO_COLOR": ""}, LogStyle.COLOURED),
        ("auto", True, {"TERM": "dumb"}, LogStyle.TEXT),
        ("text", True, {}, LogStyle.COLOURED),
        ("text", False, {}, LogStyle.TEXT),
        ("json", True, {}, LogStyle.JSON),
        ("json", False, {}, LogStyle.JSON),
    ],
)
def test_an_output_decides_where_nothing_is_asked_for(
    log_format: LogFormat, is_terminal: bool, environ: dict[str, str], style: LogStyle
) -> None:
    assert style_of(log_format, Output(is_terminal=is_terminal), environ) is style
