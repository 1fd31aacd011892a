import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli import main as main_module
from gateway.cli.main import app, tell_problems
from gateway.errors import ConfigInvalid
from tests.support.command import run_command

COMMANDS = [
    command.name or command.callback.__name__
    for command in app.registered_commands
    if command.callback
]


def test_the_version_is_shown() -> None:
    outcome = run_command("--version")
    assert outcome.code == 0
    assert outcome.out == f"sluicegate {__version__}\n"


def test_help_names_every_command() -> None:
    outcome = run_command("--help")
    assert outcome.code == 0
    lines = outcome.out.partition("Commands:")[2].splitlines()[1:]
    shown = [re.split(r"  +", line.strip())[0] for line in lines if line[2:3] != " "]
    assert shown == [*COMMANDS, "keys"]


def test_without_a_command_there_is_help() -> None:
    outcome = run_command()
    assert outcome.code == 2
    assert "Commands:" in outcome.out + outcome.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    outcome = run_command(*command.split(), "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: gateway {command}")
    assert outcome.err == ""


@pytest.mark.parametrize(
    "arguments", [("fly",), ("check", "--fly"), ("--fly",), ("check", "a", "b")]
)
def test_a_wrong_command_line_is_wrong_input(arguments: tuple[str, ...]) -> None:
    outcome = run_command(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Usage: gateway" in outcome.err


def test_every_problem_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell_problems(ConfigInvalid(("a: wrong", "b: wrong"))) == 2
    assert capsys.readouterr().err == "2 problems in the configuration:\n  a: wrong\n  b: wrong\n"


def test_one_problem_is_no_problems(capsys: pytest.CaptureFixture[str]) -> None:
    tell_problems(ConfigInvalid(("a: wrong",)))
    assert capsys.readouterr().err == "1 problem in the configuration:\n  a: wrong\n"


def broken(**_: str) -> None:
    raise RuntimeError("boom")


def test_a_bug_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_module, "app", broken)
    outcome = run_command()
    assert outcome.code == 1
    assert outcome.err == "gateway failed: RuntimeError: boom\n"


def test_a_developer_sees_the_stack_of_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_module, "app", broken)
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "debug")
    with pytest.raises(RuntimeError, match="boom"):
        run_command()


def test_the_module_is_the_command(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "check", str(tmp_path / "absent.yaml")],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "1 problem in the configuration:\n"
        f"  {tmp_path / 'absent.yaml'}: no such file or directory\n"
    )
