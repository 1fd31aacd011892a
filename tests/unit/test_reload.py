import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from gateway.api.readiness import Readiness
from gateway.config import watch
from gateway.config.document import Document
from gateway.config.load import load_document
from gateway.fleet.catalog import Catalog
from gateway.fleet.compiling import compile_catalog
from gateway.reload import Reloader
from gateway.routing import POLICIES
from gateway.telemetry.metrics import Metrics
from tests.support.running import until

ONE = json.dumps({"models": [{"name": "one", "engine": "vllm", "url": "http://a:8000"}]})
TWO = json.dumps({"models": [{"name": "two", "engine": "vllm", "url": "http://a:8000"}]})
KEYED = json.dumps(
    json.loads(TWO) | {"keys": [{"name": "team", "secret": {"from_env": "TEAM_KEY"}}]}
)


class Followed:
    """A reloader, and what it did."""

    def __init__(self, path: Path | None, environ: Mapping[str, str] | None = None) -> None:
        self.readiness = Readiness(is_started=True)
        self.metrics = Metrics()
        self.served: list[list[str]] = []
        self.reloader = Reloader(
            path,
            load_document,
            partial(compile_catalog, environ=environ or {}, policies=POLICIES),
            self._serve,
            self.readiness,
            self.metrics,
        )

    def _serve(self, document: Document, catalog: Catalog) -> None:
        assert [model.name for model in document.models] == list(catalog.models)
        self.served.append(list(catalog.models))

    def counted(self, result: str) -> float:
        return self.metrics.reloads.cell(result).value


def rewrite(file: Path) -> None:
    file.write_text(TWO)


@asynccontextmanager
async def following(followed: Followed) -> AsyncIterator[None]:
    """Follow the file until left."""
    async with anyio.create_task_group() as group:
        group.start_soon(followed.reloader.run)
        yield
        group.cancel_scope.cancel()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(ONE)
    return path


def test_a_valid_file_is_served(file: Path) -> None:
    followed = Followed(file)
    file.write_text(TWO)
    followed.reloader.reload()
    assert followed.served == [["two"]]
    assert followed.readiness.config_problems == ()
    assert (followed.counted("served"), followed.counted("refused")) == (1, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: []", "models: must not be empty"),
        ("models: [", "line 1, column "),
        (KEYED, "keys[0].secret: "),
        (None, "no such file or directory"),
    ],
)
def test_a_file_that_cannot_be_served_changes_nothing(
    file: Path, text: str | None, problem: str
) -> None:
    followed = Followed(file)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    followed.reloader.reload()
    assert followed.served == []
    (told,) = followed.readiness.config_problems
    assert problem in told
    assert (followed.counted("served"), followed.counted("refused")) == (0, 1)


def test_secrets_come_from_the_environment_of_the_process(file: Path) -> None:
    followed = Followed(file, {"TEAM_KEY": "sk-team"})
    file.write_text(KEYED)
    followed.reloader.reload()
    assert followed.served == [["two"]]


def test_a_valid_file_forgets_the_problems_of_the_one_before(file: Path) -> None:
    followed = Followed(file)
    file.write_text("models: []")
    followed.reloader.reload()
    file.write_text(TWO)
    followed.reloader.reload()
    assert followed.readiness.config_problems == ()
    assert followed.served == [["two"]]


async def test_without_a_file_there_is_nothing_to_follow() -> None:
    followed = Followed(None)
    followed.reloader.reload()
    with anyio.fail_after(5):
        await followed.reloader.run()
    assert followed.served == []


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_LOOK_AGAIN_MS", 20)


@pytest.mark.usefixtures("_looks_often")
async def test_a_change_of_the_file_is_followed(file: Path) -> None:
    followed = Followed(file)
    rewrite(file)
    async with following(followed):
        await until(lambda: bool(followed.served), within_s=10)
    assert followed.served == [["two"]]


@pytest.mark.usefixtures("_looks_often")
async def test_a_touched_file_is_not_served_again(file: Path) -> None:
    followed = Followed(file)
    async with following(followed):
        os.utime(file)
        await anyio.sleep(0.05)
        rewrite(file)
        await until(lambda: bool(followed.served), within_s=10)
    assert followed.served == [["two"]]


async def test_the_end_does_not_wait_for_the_next_look(file: Path) -> None:
    """Before, a gateway that was told to stop lived on for up to five seconds.

    The watch waits in a thread that a cancellation does not reach; now it is told to stop.
    """
    with anyio.fail_after(2):
        async with following(Followed(file)):
            await anyio.sleep(0.05)
