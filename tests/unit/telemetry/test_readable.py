"""How logs read for people."""

import pytest

from gateway.telemetry.readable import Piece, line_of, plain, told, told_event
from tests.support.live import a_line, an_ok_line


def shown(pieces: list[Piece]) -> str:
    return line_of(pieces, coloured=False)


def test_an_answered_call_reads_well() -> None:
    text = shown(told(an_ok_line(attempts=2, cached_tokens=4, duration_ms=1234.5)))
    for part in ("200", "1.23s", "m:fp8 r0", "key team", "ttft 42ms", "in 12", "cached 4"):
        assert part in text
    assert "out 60 attempts 2 finish stop req_1" in text
    assert "\n" not in text


def test_a_failed_call_says_why() -> None:
    text = shown(told(a_line()))
    assert "502" in text
    assert "engine_error engine_error: the engine failed req_1" in text


def test_what_a_client_wrote_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\x07\u202e\r\nhi"
    assert plain(evil) == "\ufffd[2J\ufffd\ufffd\ufffd\ufffdhi"
    assert "\x1b" not in shown(told(a_line(model=evil, request_id=evil, error_cause=evil)))
    assert "\x1b" not in shown(told_event({"event": evil, evil: evil, "time": 1}))


def test_an_event_is_shown_with_its_fields() -> None:
    event = {
        "time": 1_795_600_000.25,
        "level": "warning",
        "event": "replica_state",
        "logger": "x",
        "replica": "r0",
        "state": "unhealthy",
    }
    text = shown(told_event(event))
    assert text.endswith(".250 replica_state replica r0 state unhealthy")
    assert shown(told_event({"event": "e"})) == "- e"


def test_columns_stand_below_each_other() -> None:
    lines = [shown(told(an_ok_line(duration_ms=ms))) for ms in (1.0, 999.0, 1234.5, 899_990.0)]
    assert len({line.index(" m:fp8") for line in lines}) == 1


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("ok", "32"), ("client_error", "33"), ("client_gone", "2"), ("engine_error", "1;31")],
)
def test_a_call_has_the_colour_of_its_end(outcome: str, code: str) -> None:
    line = line_of(told(a_line(outcome=outcome)), coloured=True)
    assert f"\x1b[{code}m 502\x1b[0m" in line


@pytest.mark.parametrize(
    ("level", "code"), [("info", None), ("warning", "33"), ("error", "1;31"), ("critical", "1;31")]
)
def test_an_event_has_the_colour_of_its_level(level: str, code: str | None) -> None:
    line = line_of(told_event({"event": "e", "level": level}), coloured=True)
    assert (f"\x1b[{code}m e\x1b[0m" in line) is (code is not None)


def test_a_stack_stands_below_its_event() -> None:
    event = {"event": "bug", "reason": "x", "exception": "Traceback\n  File \x1b[2J"}
    assert shown(told_event(event)) == "- bug reason x\n    Traceback\n      File \ufffd[2J"
