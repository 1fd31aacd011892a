import io
import json
import logging
from collections.abc import Iterator

import pytest

from gateway.telemetry.logs import JsonFormatter, RequestLog, configure_logging
from tests.support.fake_clock import FakeClock


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


def test_a_request_is_one_line_without_what_is_unknown() -> None:
    output = io.BytesIO()
    log = RequestLog(output, FakeClock(0))
    log.write("request", {"model": "m", "ttft_ms": None, "status": 200})
    log.write("request", {})
    first, second = output.getvalue().splitlines()
    assert json.loads(first) == {
        "time": 1_700_000_000.0,
        "level": "info",
        "event": "request",
        "model": "m",
        "status": 200,
    }
    assert json.loads(second)["event"] == "request"


def test_a_closed_output_loses_the_line_not_the_request() -> None:
    output = io.BytesIO()
    output.close()
    RequestLog(output, FakeClock()).write("request", {})


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
    configure_logging("info", output)
    try:
        raise RuntimeError("boom")  # noqa: TRY301  # a stack to log
    except RuntimeError:
        logging.getLogger("anything").exception("bug")
    line = json.loads(output.getvalue())
    assert line["event"] == "bug"
    assert "boom" in line["exception"]
