"""Every command and configuration of the README does what it says."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support.child import CHECKOUT, Child, a_child
from tests.support.command import run_command
from tests.support.ports import free_port

README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


def commands() -> list[list[str]]:
    """Every command of the consoles, as words, without its comment."""
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    lines = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]


def gateway_commands() -> list[list[str]]:
    return [words[1:] for words in commands() if words[0] == ".venv/bin/gateway"]


@asynccontextmanager
async def the_demo() -> AsyncIterator[int]:
    port = free_port()
    async with a_child("demo", "--port", str(port)) as child:
        await child.says("Ctrl-C stops it")
        yield port
        child.signal(signal.SIGINT)
        await child.ended()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's configuration and the variable it names."""
    (tmp_path / "gateway.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEAM_SEARCH_KEY", "sk-readme")
    return tmp_path


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 100


def test_the_two_commands_exist_and_run_serves_the_demo_on_8080() -> None:
    assert [words[:2] for words in commands()[:2]] == [["make", "run"], ["make", "test"]]
    planned = subprocess.run(
        ["make", "--dry-run", "run"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout
    assert "gateway demo --port 8080" in planned


async def test_the_curl_command_streams_an_answer() -> None:
    (curl,) = [words for words in commands() if words[0] == "curl"]
    assert curl[1] == "-N"
    url, headers, body = curl[2], curl[curl.index("-H") + 1], curl[curl.index("-d") + 1]
    name, _, value = headers.partition(": ")
    async with the_demo() as port, httpx.AsyncClient() as client:
        answer = await client.post(
            url.replace("8080", str(port)), content=body, headers={name: value}
        )
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
    assert json.loads(answer.text.split("\n")[0][6:])["model"] == "llama-3.1-8b:fp8"


async def test_the_sdk_program_prints_an_answer() -> None:
    (program,) = blocks("python")
    assert len([line for line in program.splitlines() if line]) <= 6
    async with the_demo() as port:
        with anyio.fail_after(30):
            printed = await anyio.run_process(
                [sys.executable, "-c", program.replace("8080", str(port))]
            )
    assert len(printed.stdout) > 20


async def test_the_models_it_names_are_listed() -> None:
    async with the_demo() as port, httpx.AsyncClient() as client:
        listed = (await client.get(f"http://localhost:{port}/v1/models")).json()
    names = {model["id"] for model in listed["data"]}
    assert {"llama-3.1-8b", "llama-3.1-8b:bf16", "llama-3.1-8b:fp8"} <= names


@pytest.mark.usefixtures("folder")
def test_the_configuration_is_checked_and_explained() -> None:
    check, explain = gateway_commands()[:2]
    assert (check[0], explain[0]) == ("check", "explain")
    for words in (check, explain):
        outcome = run_command(*words)
        assert outcome.code == 0, outcome.err
        assert "fp8" in outcome.out


async def test_the_configuration_is_served(folder: Path) -> None:
    serve = gateway_commands()[2]
    assert serve[0] == "serve"
    port = free_port()
    serve[serve.index("--port") + 1] = str(port)
    serve[serve.index("-c") + 1] = str(folder / "gateway.yaml")
    async with a_child(*serve, environ={"TEAM_SEARCH_KEY": "sk-readme"}) as child:
        await child.says("sluicegate ")
        key = {"authorization": "Bearer sk-readme"}
        listed = await _models(child, port, key)
        child.signal(signal.SIGTERM)
        assert await child.ended() == 0
    assert "llama-3.1-8b:q4_0" in listed


async def _models(child: Child, port: int, headers: dict[str, str]) -> list[str]:
    transport = httpx.AsyncHTTPTransport(retries=5)
    async with httpx.AsyncClient(transport=transport, timeout=10) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/v1/models", headers=headers)
    assert answer.status_code == 200, child.said
    return [model["id"] for model in answer.json()["data"]]


async def test_an_engine_is_simulated() -> None:
    (words,) = [shlex.split(text) for text in re.findall(r"`gateway (simulate [^`]+)`", README)]
    port = free_port()
    words[words.index("--port") + 1] = str(port)
    async with a_child(*words) as child:
        await child.says(str(port))
        async with httpx.AsyncClient() as client:
            health = await client.get(f"http://127.0.0.1:{port}/health")
        child.signal(signal.SIGTERM)
        await child.ended()
    assert health.status_code == 200


def test_the_pages_it_links_to_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (CHECKOUT / target).exists(), target
