import os
from pathlib import Path

import anyio
import pytest

from gateway.launch.process import EngineProcess, Start

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"

pytestmark = pytest.mark.timeout(60)


def a_start(folder: Path, script: str, grace_s: float = 20.0) -> Start:
    return Start(["sh", "-c", script], dict(os.environ), folder, folder / "log", grace_s)


async def says(process: EngineProcess, text: str) -> None:
    with anyio.fail_after(20):
        while text not in process.log_end():  # noqa: ASYNC110  # another process writes it
            await anyio.sleep(0.01)


async def test_it_runs_in_its_folder_until_it_ends(tmp_path: Path) -> None:
    process = await EngineProcess.started(a_start(tmp_path, "pwd; exit 3"))
    assert await process.ended() == 3
    assert process.has_ended
    assert process.log_end() == f"{tmp_path}\n"
    await process.stop(anyio.Event())


async def test_only_what_this_start_has_said_is_its_logs_end(tmp_path: Path) -> None:
    for word in ("one", "two"):
        process = await EngineProcess.started(a_start(tmp_path, f"echo {word}"))
        await process.ended()
        await process.stop(anyio.Event())
        assert process.log_end() == f"{word}\n"


async def test_without_a_log_it_has_said_nothing(tmp_path: Path) -> None:
    process = await EngineProcess.started(a_start(tmp_path, "exit 0"))
    await process.ended()
    (tmp_path / "log").unlink()
    assert process.log_end() == ""
    await process.stop(anyio.Event())


async def test_it_is_stopped_within_its_grace(tmp_path: Path) -> None:
    process = await EngineProcess.started(a_start(tmp_path, STUBBORN, grace_s=0.2))
    await says(process, "up")
    await process.stop(anyio.Event())
    assert process.has_ended


async def test_a_hurry_is_not_kept_waiting(tmp_path: Path) -> None:
    process = await EngineProcess.started(a_start(tmp_path, STUBBORN, grace_s=3600))
    await says(process, "up")
    hurry = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stop, hurry)
            await anyio.sleep(0.2)
            assert not process.has_ended
            hurry.set()
    assert process.has_ended
