"""`gateway simulate` as people start it: a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.support.raw_http import OpenAnswer, ask
from tests.support.simulated import CHAT, HELLO, events_of, finishes_of, json_of
from tests.support.transcripts import Asked, compact_json

JSON = (("content-type", "application/json"),)
PATIENCE_S = 20.0


@dataclass(slots=True)
class Simulation:
    """The process, and where it serves."""

    process: subprocess.Popen[bytes]
    url: str

    def end(self, signal_number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and what it said after its welcome."""
        self.process.send_signal(signal_number)
        _, said = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said.decode()


@contextmanager
def simulating(*arguments: str) -> Iterator[Simulation]:
    command = [sys.executable, "-m", "gateway", "simulate", "--port", "0", *arguments]
    process = subprocess.Popen(
        command,
        bufsize=0,  # what is said after the first line is left for whoever reads on
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
    )
    try:
        assert process.stderr is not None
        welcome = process.stderr.readline().decode()
        found = re.search(r"at (http://127\.0\.0\.1:\d+), model", welcome)
        assert found, welcome + process.stderr.read().decode()
        yield Simulation(process, found[1])
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def a_chat(**fields: object) -> Asked:
    body = {"messages": HELLO, "max_tokens": 5} | fields
    return Asked("POST", CHAT, JSON, compact_json(body))


@pytest.mark.parametrize("engine", ["vllm", "tgi", "llamacpp", "openai"])
def test_it_streams_meets_faults_and_ends_without_a_trace(engine: str) -> None:
    with simulating("--engine", engine, "--inter-token-ms", "1") as it:
        events = events_of(ask(it.url, a_chat(stream=True), PATIENCE_S))
        assert finishes_of(events) == ["length"]

        fault = Asked("POST", "/simulate/faults", JSON, '{"fault": "status=503", "count": 1}')
        assert ask(it.url, fault, PATIENCE_S).status == 200
        assert ask(it.url, a_chat(), PATIENCE_S).status == 503
        assert ask(it.url, a_chat(), PATIENCE_S).status == 200

        code, said = it.end()
    assert code == 0
    assert "Traceback" not in said


def test_an_interrupt_ends_it_as_well() -> None:
    with simulating() as it:
        code, said = it.end(signal.SIGINT)
    assert (code, "Traceback" in said) == (0, False)


def test_an_openai_client_can_use_it_at_once() -> None:
    with simulating("--model", "one", "--model", "two", "--api-key", "sesame") as it:
        with httpx.Client(base_url=it.url, trust_env=False, timeout=PATIENCE_S) as client:
            body = {"model": "two", "messages": HELLO, "max_tokens": 2}
            assert client.post(CHAT, json=body).status_code == 401
            key = {"authorization": "Bearer sesame"}
            assert client.post(CHAT, json=body, headers=key).json()["model"] == "one"
        assert it.end()[0] == 0


def test_a_fault_on_the_command_line_meets_every_request() -> None:
    with simulating("--fault", "status=429;retry-after=3") as it:
        answers = [ask(it.url, a_chat(), PATIENCE_S) for _ in range(2)]
        assert [(answer.status, answer.header("retry-after")) for answer in answers] == [
            (429, "3"),
            (429, "3"),
        ]
        assert it.end()[0] == 0


def open_stream(it: Simulation, **fields: object) -> OpenAnswer:
    stream = OpenAnswer(it.url, a_chat(stream=True, **fields), PATIENCE_S)
    for _ in range(3):
        stream.piece()
    return stream


def test_sigterm_ends_a_stream_with_abort() -> None:
    with simulating("--inter-token-ms", "20") as it:
        stream = open_stream(it, max_tokens=5000)
        code, said = it.end()
        events = events_of(stream.finish())
    assert finishes_of(events) == ["abort"]
    assert (code, "Traceback" in said) == (0, False)


def test_with_time_to_drain_a_stream_ends_well_and_nothing_new_is_taken() -> None:
    with simulating("--inter-token-ms", "20", "--drain-s", "20") as it:
        stream = open_stream(it, max_tokens=60)
        it.process.terminate()
        refused = ask(it.url, a_chat(), PATIENCE_S)
        while refused.status == 200:  # the signal is on its way
            refused = ask(it.url, a_chat(max_tokens=1), PATIENCE_S)
        events = events_of(stream.finish())
        it.process.communicate(timeout=PATIENCE_S)
    assert (refused.status, json_of(refused)["error"]["code"]) == (500, 500)
    assert finishes_of(events) == ["length"]
    assert it.process.returncode == 0


def test_it_says_how_to_use_it() -> None:
    with simulating("--engine", "tgi") as it:
        _, said = it.end()
    assert f"curl {it.url}/v1/chat/completions" in said
    (body,) = re.findall(r"-d '(.*)'", said)
    assert json.loads(body)["model"] == "tgi"
    assert "faults: " in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--engine", "sglang"), "'sglang' is not one of"),
        (("--port", "70000"), "'--port': Input should be less"),
        (("--max-num-seqs", "0"), "'--max-num-seqs': Input should be greater"),
        (("--answer-tokens", "many"), "'--answer-tokens': Input should be a valid integer"),
        (("--fault", "explode"), "unknown fault 'explode'; known: refuse, "),
        (("--fault", "reset-after=soon"), "reset-after needs a number: reset-after=N (events)"),
        (("--speed", "9"), "No such option"),
    ],
)
def test_wrong_arguments_are_said_clearly_with_exit_code_2(
    arguments: tuple[str, ...], told: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "simulate", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=_environment() | {"COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
