from typing import Any

import msgspec
import pytest

from gateway.cli.request_lines import Wanted, read
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
