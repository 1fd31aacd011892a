"""What `gateway bench` refuses; what it measures is in tests/integration."""

import pytest

from tests.support.command import run_command
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument 'URL'"),
        (("localhost:8000",), '"localhost:8000" is no base URL'),
        (("http://h", "--rate", "0"), "--rate"),
        (("http://h", "--arrival", "random"), "--arrival"),
        (("http://h", "--operation", "embeddings"), "--operation"),
        (("http://h", "--rate", "1", "--concurrency", "2"), "exclude one another"),
        (("http://h", "--api-key-env", "NOT_SET_AT_ALL"), "NOT_SET_AT_ALL (--api-key-env)"),
        (("http://h", "--header", "authorization: Bearer sesame"), "--api-key-env"),
        (("http://h", "--fail-below-slo"), "--fail-below-slo needs"),
        (("http://h", "--html", "/no/such/folder/x.html"), "its folder does not exist"),
        (("http://h", "--csv", "/"), "--csv /: is a folder"),
        (("http://h", "--prompt-tokens", "many"), "is no length"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_sent(arguments: tuple[str, ...], words: str) -> None:
    outcome = run_command("bench", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert words in outcome.err
    assert "sesame" not in outcome.err


@pytest.mark.integration
def test_nobody_there_is_a_failure_in_one_line() -> None:
    outcome = run_command("bench", f"http://127.0.0.1:{free_port()}", "--model", "m")
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err == (
        "a first question failed: cannot connect: the endpoint could not be reached\n"
    )
