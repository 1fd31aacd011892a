import os
import signal
import socket

import pytest
import typer

from tests.support.command import run_command


@pytest.mark.parametrize(
    "arguments",
    [
        ("--engine", "triton"),
        ("--port", "65536"),
        ("--port", "http"),
        ("--max-num-seqs", "0"),
        ("--inter-token-ms", "-1"),
        ("--answer-tokens", "many"),
        ("--fly",),
        ("extra",),
    ],
)
def test_wrong_arguments_are_wrong_input(arguments: tuple[str, ...]) -> None:
    outcome = run_command("simulate", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Error: " in outcome.err


@pytest.mark.integration
def test_an_unknown_fault_names_those_that_are_known() -> None:
    outcome = run_command("simulate", "--port", "0", "--fault", "fire")
    assert outcome.code == 2
    assert outcome.err.startswith("unknown fault 'fire'; known: ")


@pytest.mark.integration
def test_a_port_that_is_taken_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        outcome = run_command("simulate", "--port", str(port))
    assert outcome.code == 1
    assert outcome.err.startswith(f"cannot listen on 127.0.0.1 port {port}: ")
    assert "TaskGroup" not in outcome.err


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["vllm", "tgi"])
def test_it_serves_until_it_is_told_to_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads that it serves may end it at once: it listens for that by then."""
    said: list[str] = []

    def echo(text: str, *, err: bool) -> None:
        said.append(text)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(typer, "echo", echo)
    outcome = run_command("simulate", "--port", "0", "--engine", kind, "--fault", "drip")
    assert outcome.code == 0
    assert said[0].startswith(f"simulated {kind} at http://127.0.0.1:")
