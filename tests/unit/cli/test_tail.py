import io
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.child import CHECKOUT
from tests.support.command import Outcome, run_command
from tests.support.live import a_line, an_ok_line

EVENT = b'{"time":1.0,"level":"warning","event":"replica_state","replica":"r0"}'
LINES = [
    msgspec.json.encode(an_ok_line(request_id="req_ok")),
    EVENT,
    msgspec.json.encode(a_line(request_id="req_bad")),
    b"no log at all",
    msgspec.json.encode(an_ok_line(request_id="req_slow", duration_ms=9000.0)),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "requests.log"
    file.write_bytes(b"\n".join(LINES) + b"\n")
    return file


def run(*arguments: str) -> Outcome:
    outcome = run_command("tail", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def test_a_file_is_shown_a_line_each_with_whatever_else_is_in_it(log: Path) -> None:
    shown = run(str(log)).out.splitlines()
    assert len(shown) == 5
    for line, part in zip(
        shown, ("req_ok", "replica_state", "req_bad", "no log at all", "req_slow"), strict=True
    ):
        assert part in line


def test_the_last_ones_are_counted_after_the_filters(log: Path) -> None:
    assert [line.split()[-1] for line in run(str(log), "-n", "1").out.splitlines()] == ["req_slow"]
    shown = run(str(log), "-n", "2", "--outcome", "ok").out.splitlines()
    assert [line.split()[-1] for line in shown] == ["req_ok", "req_slow"]
    assert run(str(log), "-n", "0").out == ""


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--failed",), ["req_bad"]),
        (("--status", "2xx"), ["req_ok", "req_slow"]),
        (("--status", "502", "--status", "404"), ["req_bad"]),
        (("--min-duration-ms", "1000"), ["req_slow"]),
        (("--model", "m:*", "--key", "team", "--replica", "r0"), ["req_ok", "req_bad", "req_slow"]),
        (("--model", "other"), []),
        (("--request-id", "req_ok"), ["req_ok"]),
    ],
)
def test_filters_show_calls_alone(log: Path, arguments: tuple[str, ...], found: list[str]) -> None:
    shown = run(str(log), *arguments).out.splitlines()
    assert [line.split()[-1] for line in shown] == found


def test_json_is_the_line_as_it_was(log: Path) -> None:
    shown = run(str(log), "--failed", "--json").out
    assert json.loads(shown) == json.loads(LINES[2])
    assert shown.encode() == LINES[2] + b"\n"


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_stdin_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(LINES * 4))))
    assert len(run(*arguments, "--failed").out.splitlines()) == 4


def test_following_goes_on_after_the_last_ones(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = 0

    def sleep(_: float) -> None:
        nonlocal waits
        waits += 1
        if waits > 1:
            raise KeyboardInterrupt
        with log.open("ab") as out:
            out.write(LINES[2] + b"\n" + LINES[0] + b"\n")

    monkeypatch.setattr("time.sleep", sleep)
    shown = run(str(log), "-f", "-n", "1").out.splitlines()
    assert [line.split()[-1] for line in shown] == ["req_slow", "req_bad", "req_ok"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--status", "6xx"), 2, "write a status such as 429, or 5xx"),
        (("--status", "20"), 2, "write a status"),
        (("--outcome", "bad"), 2, "one of ok, client_error"),
        (("/nowhere/log",), 1, "cannot read /nowhere/log: No such file or directory"),
        (("/nowhere/log", "-f"), 1, "cannot read /nowhere/log"),
        (("--min-duration-ms", "-1"), 2, "min-duration-ms"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], code: int, words: str) -> None:
    outcome = run_command("tail", *arguments)
    assert outcome.code == code
    assert words in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("more", ["", "--json"])
def test_a_reader_that_has_had_enough_is_no_failure_to_talk_about(
    tmp_path: Path, more: str
) -> None:
    file = tmp_path / "log"
    file.write_bytes((LINES[0] + b"\n") * 20_000)
    command = f"{sys.executable} -m gateway tail -n 20000 {more} {file} | head -n 1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, check=True, cwd=CHECKOUT)
    assert ran.stdout.count(b"\n") == 1
    assert ran.stderr == b""
