import os
import sys
from pathlib import Path

import anyio
import pytest

from gateway.clock import SystemClock
from gateway.launch.engines import Engines, LocalEngine
from gateway.launch.process import Start
from tests.support.ports import free_port
from tests.support.running import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


def an_engine(folder: Path, name: str, key: str | None = None) -> LocalEngine:
    port = free_port()
    words = ["-m", "gateway", "simulate", "--port", str(port)]
    keyed = [] if key is None else ["--api-key", key]
    return LocalEngine(
        name=name,
        kind="vllm",
        url=f"http://127.0.0.1:{port}",
        api_key=key,
        start=Start(
            [sys.executable, *words, *keyed], dict(os.environ), folder, folder / f"{name}.log", 10
        ),
        load_time_s=60,
        gpus=("GPU-b", "GPU-a"),
    )


def engines(*given: LocalEngine) -> tuple[Engines, list[str]]:
    said: list[str] = []
    return Engines(given, said.append, SystemClock()), said


async def test_they_are_asked_whether_they_are_ready(tmp_path: Path) -> None:
    all_, told = engines(an_engine(tmp_path, "one"), an_engine(tmp_path, "two", key="secret"))
    with anyio.fail_after(60):
        async with all_.running():
            await until(lambda: sum("ready after" in line for line in told) == 2, within_s=50)
            assert all_.now == ("one: ready", "two: ready")
            assert not all_.are_given_up
    assert "secret" not in "".join(told)


async def test_they_are_given_up_when_each_of_them_is(tmp_path: Path) -> None:
    wrong = LocalEngine(
        name="wrong",
        kind="vllm",
        url=f"http://127.0.0.1:{free_port()}",
        api_key=None,
        start=Start(["false"], dict(os.environ), tmp_path, tmp_path / "log", 1),
        load_time_s=60,
        gpus=(),
    )
    all_, told = engines(wrong)
    with anyio.fail_after(60):
        async with all_.running():
            await until(lambda: all_.are_given_up, within_s=50)
    assert "given up" in told[-1]
