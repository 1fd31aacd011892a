"""Configuration files and what they come to: `gateway check --json`, or every problem.

Beside each `config/NAME.yaml` lies `NAME.json` with what it prints, or `NAME.problems` with one
problem a line.
"""

import json
from pathlib import Path

import pytest

from tests.support.command import run_command

FILES = sorted((Path(__file__).parent / "config").glob("*.yaml"))
# what the files may name
ENVIRONMENT = {"VLLM_KEY": "vllm-s3cret", "TEAM_KEY": "team-s3cret", "EMPTY_KEY": ""}


def test_there_are_files() -> None:
    assert len(FILES) >= 25


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_configuration_comes_to_this(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    outcome = run_command("check", "--json", file.name)
    expected = file.with_suffix(".json")
    if expected.exists():
        assert outcome.err == ""
        assert outcome.code == 0
        assert json.loads(outcome.out) == json.loads(expected.read_text())
    else:
        head, *problems = outcome.err.splitlines()
        assert [line.strip() for line in problems] == (
            file.with_suffix(".problems").read_text().splitlines()
        )
        assert head.startswith(f"{len(problems)} problem")
        assert outcome.code == 2
        assert outcome.out == ""
