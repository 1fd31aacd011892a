import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.clock import SystemClock
from gateway.launch import engine as engine_module
from gateway.launch import restarts
from gateway.launch.engine import EngineLife, Phase
from gateway.launch.process import Start
from tests.support.running import until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(engine_module, "_LOOK_EVERY_S", 0.02)


async def always() -> bool:
    return True


async def never() -> bool:
    return False


class Bench:
    """An engine that is a script, and what was told of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.hurry = anyio.Event()

    def life(
        self,
        script: str,
        is_ready: Callable[[], Awaitable[bool]],
        name: str = "m/r0",
        **given: Any,
    ) -> EngineLife:
        command = ["sh", "-c", script] if script else ["/no/such/engine"]
        log = self.folder / f"{name.replace('/', '_')}.log"
        start = Start(command, dict(os.environ), self.folder, log, 1.0)
        return EngineLife(
            name,
            start,
            is_ready=is_ready,
            tell=self.told.append,
            hurry=self.hurry,
            clock=SystemClock(),
            **{"load_time_s": 20, "turns": (), **given},
        )

    def count(self, text: str) -> int:
        return sum(text in line for line in self.told)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_one_that_is_ready_runs_until_it_is_stopped(bench: Bench) -> None:
    life = bench.life("exec sleep 600", always)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.run)
        await until(lambda: life.phase is Phase.READY, within_s=20)
        tasks.cancel_scope.cancel()
    assert bench.told == ["m/r0: starting", "m/r0: ready after 0 s"]
    assert life.now == "m/r0: ready"


async def test_one_that_crashes_is_started_again(bench: Bench) -> None:
    life = bench.life("sleep 0.1; echo oh no; exit 7", always)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.run)
        await until(lambda: bench.count("ready after") == 3, within_s=30)
        tasks.cancel_scope.cancel()
    assert bench.count("m/r0: ended with exit code 7, starts again in 0.01 s; the end of") == 1
    assert bench.count("m/r0 | oh no") == 2


async def test_one_that_never_gets_ready_is_given_up(bench: Bench) -> None:
    life = bench.life("exit 1", never)
    with anyio.fail_after(30):
        await life.run()
    assert life.phase is Phase.GIVEN_UP
    assert bench.count("starting") == restarts.MAX_FALSE_STARTS
    assert bench.count("given up; the end of") == 1


async def test_one_that_takes_too_long_is_ended(bench: Bench) -> None:
    life = bench.life("exec sleep 600", never, load_time_s=0.2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.run)
        await until(lambda: bench.count("not ready after 0.2 s, starts again") > 0, within_s=20)
        tasks.cancel_scope.cancel()


async def test_a_program_that_is_not_there_is_told(bench: Bench) -> None:
    life = bench.life("", never)
    with anyio.fail_after(30):
        await life.run()
    assert bench.count("could not be started, given up") == 1
    assert bench.count("No such file or directory") == restarts.MAX_FALSE_STARTS


async def test_the_signal_that_ended_it_is_told(bench: Bench) -> None:
    life = bench.life("sleep 0.1; kill -9 $$", always)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.run)
        await until(lambda: bench.count("ended by signal 9") > 0, within_s=20)
        tasks.cancel_scope.cancel()


async def test_progress_is_told_once_for_each_step(bench: Bench) -> None:
    life = bench.life("echo Starting to load model; exec sleep 600", never)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.run)
        await until(lambda: life.stage is not None, within_s=20)
        await anyio.sleep(0.1)
        assert life.now == "m/r0: loading weights"
        tasks.cancel_scope.cancel()
    assert bench.told == ["m/r0: starting", "m/r0: loading weights"]


async def test_engines_that_share_a_gpu_load_one_after_the_other(bench: Bench) -> None:
    turn, loaded = anyio.Lock(), anyio.Event()

    async def when_told() -> bool:
        return loaded.is_set()

    one = bench.life("exec sleep 600", when_told, "one", turns=(turn,))
    two = bench.life("exec sleep 600", when_told, "two", turns=(turn,))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        await until(lambda: one.phase is Phase.LOADING, within_s=20)
        tasks.start_soon(two.run)
        await anyio.sleep(0.1)
        assert two.now == "two: waiting for its turn on a GPU"
        loaded.set()
        await until(lambda: two.phase is Phase.READY, within_s=20)
        assert one.phase is Phase.READY
        tasks.cancel_scope.cancel()
    assert bench.told[:2] == ["one: starting", "one: ready after 0 s"]
