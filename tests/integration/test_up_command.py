"""`gateway up` as a process, with engines of its own: real processes that are simulated engines."""

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.serve import serve_engine
from tests.support.child import Child, a_child, children_of, state_of
from tests.support.command import run_command
from tests.support.ports import free_port
from tests.support.running import FAST, until
from tests.support.served import PATH, chat

pytestmark = pytest.mark.timeout(120)

SIMULATE = [
    *(sys.executable, "-m", "gateway", "simulate", "--model", "{served_model}"),
    *("--port", "{port}", "--inter-token-ms", "2", "--drain-s", "0"),
]


def shell(script: str) -> list[str]:
    """An engine whose start a test has a word in; `$SIMULATE` becomes a simulated engine."""
    return ["sh", "-c", script.replace("$SIMULATE", "exec " + shlex.join(SIMULATE))]


class Up:
    """A `gateway up` that runs."""

    def __init__(self, child: Child, file: Path) -> None:
        self.child = child
        self.file = file
        found = re.search(r"for http://localhost:(\d+)", child.said)
        assert found, child.said
        self.url = f"http://127.0.0.1:{found[1]}"

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.get(self.url + path)

    async def post(self, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.post(self.url + PATH, json=chat(**more))

    async def serves(self) -> None:
        await self.child.says("models at http://localhost:", within_s=60)

    def engines(self) -> list[int]:
        """The engines' processes, behind their keepers."""
        keepers = children_of(self.child.process.pid)
        return [engine for keeper in keepers for engine in children_of(keeper)]


def a_file(folder: Path, *models: dict[str, Any], **more: Any) -> Path:
    file, fresh = folder / "gateway.yaml", folder / "gateway.yaml.new"
    fresh.write_text(json.dumps({"models": models, **more}))
    fresh.rename(file)
    return file


def a_model(name: str = "m", *, url: str | None = None, **deploy: Any) -> dict[str, Any]:
    # ports of its own: tests run side by side
    url = url or f"http://127.0.0.1:{free_port()}"
    return {"name": name, "engine": "vllm", "url": url, "deploy": {"command": SIMULATE, **deploy}}


@asynccontextmanager
async def up(folder: Path, *models: dict[str, Any], **more: Any) -> AsyncIterator[Up]:
    file = a_file(folder, *models, **more)
    command = ["up", str(file), "--host", "127.0.0.1", "--port", "0", "--log-dir", str(folder)]
    async with a_child(*command) as child:
        await child.says("starting ")
        yield Up(child, file)


async def test_engines_are_started_served_and_stopped(tmp_path: Path) -> None:
    async with up(tmp_path, a_model("m"), a_model("n")) as it:
        await it.serves()
        answer = await it.post()
        await it.child.says("n/r0: ready after")
        engines = it.engines()
        it.child.signal(signal.SIGTERM)
        assert await it.child.ended() == 0
    assert answer.json()["choices"][0]["message"]["content"]
    assert len(engines) == 2
    assert [state_of(engine) for engine in engines] == ["Z", "Z"]
    assert "simulated vllm at" in (tmp_path / "m_r0.log").read_text()


async def test_until_an_engine_is_ready_callers_and_probes_are_told(tmp_path: Path) -> None:
    waits = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done"
    loads = shell(f"echo Starting to load model; {waits}; $SIMULATE")
    async with up(tmp_path, a_model(command=loads)) as it:
        await it.child.says("m/r0: loading weights")
        with anyio.fail_after(20):
            while "weights" not in (await it.get("/ready")).text:  # noqa: ASYNC110  # a process
                await anyio.sleep(0.05)
        ready, called = await it.get("/ready"), await it.post()
        alive = await it.get("/health")
        (tmp_path / "go").touch()
        await it.serves()
        assert (await it.get("/ready")).status_code == 200
        assert (await it.post()).status_code == 200
    assert (ready.status_code, called.status_code, alive.status_code) == (503, 502, 200)
    assert called.json()["error"]["code"] == "engine_unreachable"
    assert ready.json()["reasons"] == ["starting: m/r0: loading weights"]


async def test_the_first_model_serves_while_another_still_loads(tmp_path: Path) -> None:
    async with up(tmp_path, a_model("m"), a_model("slow", command=["sleep", "600"])) as it:
        await it.serves()
        assert (await it.post()).status_code == 200
        assert (await it.post(model="slow")).status_code == 502


async def test_an_engine_that_dies_is_started_again(tmp_path: Path) -> None:
    async with up(tmp_path, a_model()) as it:
        await it.serves()
        (engine,) = it.engines()
        os.kill(engine, signal.SIGKILL)
        await it.child.says("m/r0: ended by signal 9, starts again in 1 s")
        await until(lambda: it.child.said.count("m/r0: ready after") == 2, within_s=60)
        with anyio.fail_after(20):
            # probes may have seen it down
            while (await it.post()).status_code != 200:  # noqa: ASYNC110  # asked, not told
                await anyio.sleep(0.2)


async def test_without_an_engine_that_can_be_kept_alive_it_ends(tmp_path: Path) -> None:
    command = shell("echo out of memory; exit 1")
    async with up(tmp_path, a_model(command=command)) as it:
        assert await it.child.ended(within_s=100) == 1
    assert it.child.said.count("m/r0 | out of memory") == 5
    assert "m/r0: ended with exit code 1, given up" in it.child.said


async def test_an_engine_that_is_late_is_ended_and_started_again(tmp_path: Path) -> None:
    command = shell("echo hangs; exec sleep 600")
    async with up(tmp_path, a_model(command=command, load_time_s=1)) as it:
        await it.child.says("m/r0: not ready after 1 s, starts again in 1 s", within_s=30)
        await it.child.says("m/r0 | hangs")


async def test_nothing_outlives_a_gateway_that_is_killed(tmp_path: Path) -> None:
    async with up(tmp_path, a_model()) as it:
        await it.serves()
        (engine,) = it.engines()
        it.child.signal(signal.SIGKILL)
        await until(lambda: state_of(engine) == "Z", within_s=20)


async def test_two_signals_are_a_hurry(tmp_path: Path) -> None:
    """The engine would take an hour to end; the second signal kills it."""
    stubborn = shell("trap '' TERM; $SIMULATE & while :; do sleep 0.1; done".replace("exec ", ""))
    async with up(tmp_path, a_model(command=stubborn, drain_s=3600)) as it:
        await it.serves()
        engines = it.engines()
        it.child.signal(signal.SIGINT)
        await it.child.says("stopping the engines")
        it.child.signal(signal.SIGINT)
        assert await it.child.ended() == 0
    assert {state_of(engine) for engine in engines} == {"Z"}


async def test_a_changed_file_is_served_and_a_changed_engine_refused(tmp_path: Path) -> None:
    file_model = a_model()
    async with up(tmp_path, file_model) as it:
        await it.serves()
        a_file(tmp_path, file_model | {"aliases": ["other"]})
        await it.child.says('"event":"config_reloaded"')
        assert (await it.post(model="other")).status_code == 200
        without_url = {key: value for key, value in file_model.items() if key != "url"}
        a_file(tmp_path, without_url | {"name": "new"})
        await it.child.says('"event":"config_refused"')
        assert "start it again" in it.child.said
        assert (await it.post(model="other")).status_code == 200


async def test_a_port_of_another_program_is_refused(tmp_path: Path) -> None:
    async with serve_engine(FAST) as other:
        file = a_file(tmp_path, a_model(url=other.url))
        async with a_child("up", str(file)) as child:
            assert await child.ended() == 2
    assert "taken by another program" in child.said


async def test_a_folder_for_logs_that_cannot_be_is_refused(tmp_path: Path) -> None:
    file = a_file(tmp_path, a_model())
    async with a_child("up", str(file), "--log-dir", str(file / "logs")) as child:
        assert await child.ended() == 2
    assert "--log-dir" in child.said


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"LOGS_DIRECTORY": "/var/log/a:/var/log/b"}, "/var/log/a"),
        ({"XDG_STATE_HOME": "/state"}, "/state/sluicegate"),
        ({"HOME": "/home/x"}, "/home/x/.local/state/sluicegate"),
    ],
)
def test_a_dry_run_prints_what_would_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], folder: str
) -> None:
    for name in ("LOGS_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    url = f"http://127.0.0.1:{free_port()}"
    file = a_file(tmp_path, a_model(url=url, command=["echo", "{port}", "two words"]))
    said = run_command("up", str(file), "--dry-run")
    assert said.code == 0
    assert said.out == (
        f"# m/r0 at {url}, GPUs: none, log: {folder}/m_r0.log\n"
        f"echo {url.rpartition(':')[2]} 'two words'\n"
    )
