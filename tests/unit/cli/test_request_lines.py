from typing import Any

import msgspec
import pytest

from gateway.cli.request_lines import Wanted, plain, read, told, told_event
from gateway.telemetry.request_line import RequestLine
from tests.support.live import a_line, an_ok_line


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        ({}, True),
        ({"models": ("m",)}, True),
        ({"models": ("m:fp8",)}, True),
        ({"models": ("*:fp8", "x")}, True),
        ({"models": ("m:awq*",)}, False),
        ({"replicas": ("r0",)}, True),
        ({"replicas": ("r1",)}, False),
        ({"callers": ("te*",)}, True),
        ({"callers": ("other",)}, False),
        ({"statuses": ("502",)}, True),
        ({"statuses": ("429", "5xx")}, True),
        ({"statuses": ("4xx",)}, False),
        ({"outcomes": ("engine_error",)}, True),
        ({"outcomes": ("ok",)}, False),
        ({"request_ids": ("req_1",)}, True),
        ({"request_ids": ("req_2",)}, False),
        ({"min_duration_ms": 12.5}, True),
        ({"min_duration_ms": 13.0}, False),
        ({"failed": True}, True),
        ({"models": ("m",), "callers": ("other",)}, False),
    ],
)
def test_all_that_is_asked_for_must_hold(asked: dict[str, Any], has: bool) -> None:
    assert Wanted(**asked).has(a_line()) is has
    assert Wanted(**asked).is_all is (not asked)


def test_what_is_unknown_matches_no_pattern() -> None:
    line = a_line(model=None, variant=None, replica=None, caller=None)
    assert not Wanted(models=("*",)).has(line)
    assert Wanted().has(line)
    assert not Wanted(failed=True).has(an_ok_line())


def test_lines_are_told_from_other_events_and_from_what_is_no_log() -> None:
    line = an_ok_line()
    assert read(msgspec.json.encode(line)) == line
    event = {"time": 1.0, "level": "warning", "event": "replica_state", "replica": "r0"}
    assert read(msgspec.json.encode(event)) == event
    for other in (b"hello\n", b"{}", b"[1]", b'{"event": "request"}', b"\xff", b""):
        assert read(other) is None


def test_a_later_gateways_line_with_more_fields_is_read() -> None:
    encoded = msgspec.json.encode(msgspec.to_builtins(a_line()) | {"queue_ms": 3})
    assert isinstance(read(encoded), RequestLine)


def test_an_answered_call_reads_well() -> None:
    text = told(an_ok_line(attempts=2, cached_tokens=4, duration_ms=1234.5)).plain
    for part in ("200", "1.23s", "m:fp8 r0", "key team", "ttft 42ms", "in 12", "cached 4"):
        assert part in text
    assert "out 60 attempts 2 finish stop req_1" in text
    assert "\n" not in text


def test_a_failed_call_says_why() -> None:
    text = told(a_line()).plain
    assert "502" in text
    assert "engine_error engine_error: the engine failed req_1" in text


def test_what_a_client_wrote_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\x07\u202e\r\nhi"
    assert plain(evil) == "\ufffd[2J\ufffd\ufffd\ufffd\ufffdhi"
    assert "\x1b" not in told(a_line(model=evil, request_id=evil, error_cause=evil)).plain
    assert "\x1b" not in told_event({"event": evil, evil: evil, "time": 1}).plain


def test_an_event_is_shown_with_its_fields() -> None:
    event = {
        "time": 1_795_600_000.25,
        "level": "warning",
        "event": "replica_state",
        "logger": "x",
        "replica": "r0",
        "state": "unhealthy",
    }
    text = told_event(event).plain
    assert text.endswith(".250 replica_state replica r0 state unhealthy")
    assert told_event({"event": "e"}).plain == "- e"
