"""What `gateway compare` refuses; what it measures is in tests/integration and tests/engines."""

from pathlib import Path

import pytest

from tests.support.command import run_command
from tests.support.ports import free_port


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "2+2?", "answer": "4"}\n')
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "b"), "give --url"),
        (("http://a", "ftp://b"), "is no base URL"),
        (("http://a", "http://b", "--rule", "vibes"), "--rule"),
        (("http://a", "http://b", "--min-top1", "2"), "--min-top1"),
        (("http://a", "http://b", "--body", "{"), "--body: not JSON"),
        (("http://a", "http://b", "--html", "/no/such/x"), "its folder does not exist"),
        (("http://a", "http://b", "--b-api-key-env", "NOT_SET"), "NOT_SET (--api-key-env)"),
    ],
)
def test_wrong_input_is_told(arguments: tuple[str, ...], words: str, prompts: str) -> None:
    outcome = run_command("compare", *arguments, "--prompts", prompts)
    assert outcome.code == 2
    assert outcome.out == ""
    assert words in outcome.err


def test_prompts_must_be_there_and_make_sense(tmp_path: Path) -> None:
    sides = ("compare", "http://a", "http://b", "--prompts")
    assert run_command("compare", "http://a", "http://b").code == 2
    assert "no such file" in run_command(*sides, str(tmp_path / "none")).err
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a", "answer": {}}\n')
    outcome = run_command(*sides, str(path))
    assert (outcome.code, "p.jsonl prompt 1: answer must be" in outcome.err) == (2, True)


@pytest.mark.integration
def test_nobody_there_is_a_failure_in_one_line(prompts: str) -> None:
    url = f"m@http://127.0.0.1:{free_port()}"
    outcome = run_command("compare", url, url, "--prompts", prompts)
    assert outcome.code == 1
    assert outcome.err == (
        "a first question to A failed: cannot connect: the endpoint could not be reached\n"
    )
