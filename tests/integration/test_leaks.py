"""The search for secrets in logs finds what it is there to find."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.child import CHECKOUT, a_child
from tests.support.leaks import LEDGER, PROMPT, Ledger, records_heard, secrets_planted
from tests.support.running import Lines, a_gateway

A_KEY = "sk-" + "Zm9vYmFy" * 5 + "abc"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (f"model {PROMPT} unknown", "a prompt"),
        ("said: keeps every stream alive while engines come", "an answer"),
        (f"key {A_KEY} refused", "a key made at run time"),
        ("authorization: Bearer abc.def-123", "a bearer token"),
        ("cannot reach redis://:hunter22@10.0.0.1:6379/0", "a password in a URL"),
        ("cannot reach redis://user:p%40ss@redis", "a password in a URL"),
    ],
)
def test_what_looks_like_a_secret_is_found(said: str, found: str) -> None:
    ledger = Ledger()
    ledger.hear("an honest line")
    ledger.hear(said)
    (leak,) = ledger.leaks()
    assert leak == f"{found}: {said}"
    assert ledger.leaks() == []


@pytest.mark.parametrize(
    "said", ["redis://10.0.0.1:6379/0", "redis://:***@redis", "no key was sent", "sk-short"]
)
def test_honest_lines_are_none(said: str) -> None:
    ledger = Ledger()
    ledger.hear(said)
    assert ledger.leaks() == []


def test_a_planted_secret_is_found_wherever_it_is() -> None:
    ledger = Ledger()
    ledger.plant("redis://:pass%2Fword@redis")
    ledger.plant("short")
    for said in ("short", "pass/word", b"pass/word", bytearray(b"x=pass/word;")):
        ledger.hear(said)
    assert len(ledger.leaks()) == 1


def test_only_the_newest_secrets_are_kept() -> None:
    ledger = Ledger()
    for number in range(3000):
        ledger.plant(f"secret-{number:05}")
    ledger.hear("secret-00000 secret-02999")
    assert len(ledger.leaks()) == 1


def test_a_field_of_a_record_is_heard_and_what_is_silenced_is_not() -> None:
    ledger = Ledger()
    with secrets_planted(ledger), records_heard(ledger):
        SecretStr("correct-horse")
        logging.getLogger("gateway.x").warning("state", extra={"reason": "correct-horse"})
        logging.getLogger("httpcore.http11").debug("correct-horse")
    (leak,) = ledger.leaks()
    assert '"reason":"correct-horse"' in leak
    assert LEDGER.leaks()  # the one of the whole run has heard it, too


async def test_the_request_log_and_what_a_command_says_are_heard() -> None:
    LEDGER.leaks()
    Lines().write(bytearray(PROMPT.encode()))
    assert LEDGER.leaks() == [f"a prompt: {PROMPT}"]
    async with a_child("serve", "-c", f"/nowhere/{PROMPT}.yaml") as child:
        await child.ended()
    assert LEDGER.leaks()


async def test_a_gateway_that_logged_an_admin_key_would_be_found() -> None:
    environ = {"GATEWAY_ADMIN_KEY": "the-admin-key-of-this-test"}
    async with a_gateway(environ=environ):
        logging.getLogger("gateway.app").warning("the-admin-key-of-this-test")
    assert any(leak.startswith("a secret: ") for leak in LEDGER.leaks())


@pytest.mark.timeout(60)
def test_a_test_whose_logs_leak_fails(tmp_path: Path) -> None:
    """The whole way: a test that is green but for a key in the log."""
    body = "import logging\n\ndef test_green():\n    logging.getLogger('gateway').error({!r})\n"
    outcomes = []
    (tmp_path / "conftest.py").write_text((CHECKOUT / "tests/conftest.py").read_text())
    for said in (A_KEY, "an honest line"):
        (tmp_path / "test_it.py").write_text(body.format(said))
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
        ended = subprocess.run(
            [sys.executable, *words, "-c", os.devnull, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
        )
        outcomes.append((ended.returncode, "a key made at run time" in ended.stdout))
    assert outcomes == [(1, True), (0, False)]
