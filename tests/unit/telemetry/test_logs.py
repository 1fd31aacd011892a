import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from gateway.telemetry import fields
from gateway.telemetry.log_style import LogStyle
from gateway.telemetry.logs import (
    JsonFormatter,
    RequestLog,
    configure_logging,
    unbuffered,
)
from gateway.telemetry.request_line import RequestLine


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


def a_line(model: str | None = None) -> RequestLine:
    return RequestLine(
        time=1_700_000_000.0,
        level="info",
        event="request",
        request_id="req-1",
        operation="chat",
        stream=False,
        attempts=1,
        outcome="ok",
        status=200,
        duration_ms=1.5,
        body_bytes=10,
        model=model,
    )


def test_a_request_is_one_line_without_what_is_unknown() -> None:
    output = io.BytesIO()
    log = RequestLog(output)
    log.write(a_line(model="m"))
    log.write(a_line())
    first, second = output.getvalue().splitlines()
    assert json.loads(first) == {
        "time": 1_700_000_000.0,
        "level": "info",
        "event": "request",
        "request_id": "req-1",
        "operation": "chat",
        "stream": False,
        "attempts": 1,
        "outcome": "ok",
        "status": 200,
        "duration_ms": 1.5,
        "body_bytes": 10,
        "model": "m",
    }
    assert json.loads(second)["event"] == "request"


def test_the_fields_of_a_request_are_named_where_all_names_are() -> None:
    names = {value for name, value in vars(fields).items() if name.isupper()}
    assert set(RequestLine.__struct_fields__) - {"time", "level", "event"} <= names


@pytest.mark.parametrize("style", [LogStyle.TEXT, LogStyle.COLOURED])
def test_a_request_is_text_for_people_and_json_for_whoever_keeps_it(style: LogStyle) -> None:
    output = io.BytesIO()
    kept = RequestLog(output, style).write(a_line(model="m"))
    assert json.loads(kept)["model"] == "m"
    (line,) = output.getvalue().decode().splitlines()
    assert "req-1" in line
    assert "200" in line
    assert ("\x1b[" in line) is (style is LogStyle.COLOURED)


@pytest.mark.usefixtures("_logging_as_it_was")
def test_a_change_of_state_is_text_for_people() -> None:
    output = io.StringIO()
    configure_logging("info", LogStyle.TEXT, output)
    logging.getLogger("gateway.x").warning("replica_state", extra={"replica": "r0"})
    assert output.getvalue().endswith(" replica_state replica r0\n")


async def test_lines_of_one_turn_of_the_loop_are_written_together() -> None:
    written: list[bytes] = []

    class Output:
        def write(self, line: bytearray, /) -> None:
            written.append(bytes(line))

    log = RequestLog(Output())
    log.loop = asyncio.get_running_loop()
    log.write(a_line())
    log.write(a_line())
    assert written == []
    await anyio.lowlevel.checkpoint()
    assert [len(lines.splitlines()) for lines in written] == [2]
    log.flush()
    assert len(written) == 1


def test_a_closed_output_loses_the_line_not_the_request() -> None:
    output = io.BytesIO()
    output.close()
    RequestLog(output).write(a_line())


def test_a_stream_over_a_file_is_written_to_without_its_buffer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        unbuffered(stream).write(bytearray(b"line\n"))
        assert path.read_bytes() == b"line\n"


def test_a_stream_over_bytes_without_a_buffer_is_written_to_beneath() -> None:
    output = io.BytesIO()
    stream = io.TextIOWrapper(output)
    unbuffered(stream).write(bytearray(b"line\n"))
    assert output.getvalue() == b"line\n"


def test_a_stream_of_text_alone_gets_text() -> None:
    output = io.StringIO()
    unbuffered(output).write(bytearray("é\n".encode()))
    assert output.getvalue() == "é\n"


def test_fields_of_a_record_become_fields_of_the_line() -> None:
    record = logging.getLogger("gateway.x").makeRecord(
        "gateway.x", logging.WARNING, "f", 1, "replica_state", (), None, extra={"state": "ready"}
    )
    line = json.loads(JsonFormatter().format(record))
    assert line["event"] == "replica_state"
    assert line["level"] == "warning"
    assert line["state"] == "ready"


@pytest.mark.usefixtures("_logging_as_it_was")
def test_everything_logged_comes_out_as_json_with_its_exception() -> None:
    output = io.StringIO()
    configure_logging("info", output=output)
    try:
        raise RuntimeError("boom")  # noqa: TRY301  # a stack to log
    except RuntimeError:
        logging.getLogger("anything").exception("bug")
    line = json.loads(output.getvalue())
    assert line["event"] == "bug"
    assert "boom" in line["exception"]
