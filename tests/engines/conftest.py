"""Fixtures of real engines, for the tests that must not believe a simulation.

Every test in this folder is marked `engines` and has five minutes. Fixtures:

- `tiny_models`: the model on disk, as a Hugging Face folder and as GGUF.
- `two_vllms`: two vLLM servers with the same model; shared by the whole session, so a test
  leaves them as it found them.
- `llama_server`: one llama-server with the same model; shared likewise.
- `start_another_vllm(extra_args=(), served_name="tiny")`, `start_another_llama_server(...)`: an
  engine for this test alone, to be terminated or killed.

An engine whose packages could not be had on this machine skips its tests with the reason; an
engine that nobody installed fails them. When a test fails, the report shows the ends of the logs
of the engines it used.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.engine_home import EngineHome, llamacpp_home, vllm_home
from tests.support.ports import free_port
from tests.support.real_engines import (
    RealEngine,
    TinyModels,
    running,
    start_llama_server,
    start_vllm,
    write_tiny_models,
)

TIMEOUT_S = 300


class StartAnother(Protocol):
    def __call__(self, extra_args: Sequence[str] = (), served_name: str = "tiny") -> RealEngine: ...


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.engines)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for engine in _engines_of(item):
            report.sections.append((f"end of the log of {engine.name}", engine.log_tail()))
    return report


def _engines_of(item: pytest.Item) -> list[RealEngine]:
    found: list[RealEngine] = []
    for value in getattr(item, "funcargs", {}).values():
        candidates = value if isinstance(value, tuple) else (value,)
        found += [engine for engine in candidates if isinstance(engine, RealEngine)]
        found += getattr(value, "started", [])
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not any("tests/engines/" in report.nodeid for report in skipped):
        return
    for home in (vllm_home(), llamacpp_home()):
        if home.reason_missing:
            terminalreporter.section(f"{home.name} WAS NOT TESTED", red=True, bold=True)
            terminalreporter.line(home.reason_missing)


def need(home: EngineHome) -> None:
    """Skip where the engine cannot be had, fail where nobody installed it."""
    if home.is_installed:
        return
    if home.reason_missing:
        pytest.skip(f"{home.name} cannot be installed here: {home.reason_missing}")
    pytest.fail(f"{home.name} is not installed in {home.folder}: run `make test-engines`")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return write_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def two_vllms(tiny_models: TinyModels) -> Iterator[tuple[RealEngine, RealEngine]]:
    """Both serve "tiny" and its alias "tiny-alias"; started side by side."""
    need(vllm_home())
    start = partial(start_vllm, model_dir=tiny_models.hugging_face)
    one = start(free_port(), served_name=("tiny", "tiny-alias"))
    two = start(free_port(), served_name=("tiny", "tiny-alias"))
    with running(one, two):
        yield one, two


@pytest.fixture
def a_vllm(two_vllms: tuple[RealEngine, RealEngine]) -> RealEngine:
    """The first of `two_vllms`, for tests that need only one."""
    return two_vllms[0]


@pytest.fixture(scope="session")
def llama_server(tiny_models: TinyModels) -> Iterator[RealEngine]:
    need(llamacpp_home())
    with running(start_llama_server(free_port(), tiny_models.gguf, "tiny")) as (engine,):
        yield engine


class _Starter:
    """Starts engines for one test, remembers them for the report, stops them at its end."""

    def __init__(self, start: Callable[[Sequence[str], str], RealEngine], stack: ExitStack) -> None:
        self._start, self._stack = start, stack
        self.started: list[RealEngine] = []

    def __call__(self, extra_args: Sequence[str] = (), served_name: str = "tiny") -> RealEngine:
        engine = self._start(extra_args, served_name)
        self.started.append(engine)
        self._stack.enter_context(running(engine))
        return engine


@pytest.fixture
def start_another_vllm(tiny_models: TinyModels) -> Iterator[StartAnother]:
    need(vllm_home())

    def start(extra_args: Sequence[str], served_name: str) -> RealEngine:
        return start_vllm(free_port(), tiny_models.hugging_face, served_name, extra_args)

    with ExitStack() as stack:
        yield _Starter(start, stack)


@pytest.fixture
def start_another_llama_server(tiny_models: TinyModels) -> Iterator[StartAnother]:
    need(llamacpp_home())

    def start(extra_args: Sequence[str], served_name: str) -> RealEngine:
        return start_llama_server(free_port(), tiny_models.gguf, served_name, extra_args)

    with ExitStack() as stack:
        yield _Starter(start, stack)
