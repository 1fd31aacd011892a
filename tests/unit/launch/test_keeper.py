"""The keeper as the program it is: a process with a pipe on its standard input."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.launch import keeper
from gateway.launch.keeper import BoundedLog
from tests.support.child import children_of, state_of

pytestmark = pytest.mark.timeout(60)

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"


class Kept:
    """A keeper that runs, and where its engine's log is."""

    def __init__(self, log: Path, command: list[str], grace_s: float, max_bytes: int) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                keeper.__file__,
                str(log),
                str(max_bytes),
                str(grace_s),
                *command,
            ],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def engine(self) -> int:
        until(lambda: bool(children_of(self.process.pid)))
        return children_of(self.process.pid)[0]

    def says(self, text: str) -> None:
        until(lambda: text in self.said)

    def gateway_ends(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def ended(self) -> int:
        return self.process.wait(20)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


Keep = Callable[..., Kept]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    started: list[Kept] = []

    def start(*command: str, grace_s: float = 20.0, max_bytes: int = 1 << 20) -> Kept:
        started.append(Kept(tmp_path / "engine.log", list(command), grace_s, max_bytes))
        return started[-1]

    yield start
    for one in started:
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait(20)
        if one.process.stdin:
            one.process.stdin.close()


def test_the_exit_code_is_the_engines(keep: Keep) -> None:
    assert keep("sh", "-c", "exit 3").ended() == 3
    assert keep("sh", "-c", "kill -9 $$").ended() == 128 + signal.SIGKILL


def test_what_it_says_is_kept(keep: Keep) -> None:
    kept = keep("sh", "-c", "echo one; echo two >&2")
    kept.ended()
    assert kept.said == "one\ntwo\n"
    assert kept.log.stat().st_mode & 0o077 == 0


def test_a_program_that_is_not_there_is_told_in_the_log(keep: Keep) -> None:
    kept = keep("/no/such/program")
    assert kept.ended() == keeper.NOT_STARTED
    assert kept.said == "cannot start /no/such/program: No such file or directory\n"


def test_at_sigterm_the_engine_may_come_to_its_end(keep: Keep) -> None:
    kept = keep("sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    kept.says("up")
    kept.process.terminate()
    assert kept.ended() == 0
    assert kept.said == "up\nbye\n"


def test_an_engine_that_does_not_end_in_time_is_killed(keep: Keep) -> None:
    kept = keep("sh", "-c", STUBBORN, grace_s=0.2)
    kept.says("up")
    kept.process.terminate()
    assert kept.ended() == 128 + signal.SIGKILL


def test_a_second_sigterm_is_a_hurry(keep: Keep) -> None:
    kept = keep("sh", "-c", STUBBORN, grace_s=3600)
    kept.says("up")
    kept.process.terminate()
    time.sleep(0.1)  # two signals at once are one
    kept.process.terminate()
    assert kept.ended() == 128 + signal.SIGKILL


def test_without_a_grace_it_is_killed_at_once(keep: Keep) -> None:
    kept = keep("sh", "-c", STUBBORN, grace_s=0)
    kept.says("up")
    kept.process.terminate()
    assert kept.ended() == 128 + signal.SIGKILL


def test_an_engine_does_not_outlive_the_gateway(keep: Keep) -> None:
    kept = keep("sh", "-c", STUBBORN, grace_s=0.2)
    kept.says("up")
    kept.gateway_ends()
    assert kept.ended() == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word for it")
def test_an_engine_does_not_outlive_its_keeper(keep: Keep) -> None:
    kept = keep("sh", "-c", STUBBORN)
    kept.says("up")
    engine = kept.engine()
    kept.process.kill()
    until(lambda: state_of(engine) == "Z")


@pytest.mark.skipif(sys.platform != "linux", reason="orphans come to the keeper on Linux only")
def test_what_an_engine_leaves_behind_is_killed(keep: Keep) -> None:
    """As vLLM's engine core does: a child in a session of its own, that outlives its parent."""
    orphan = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"
    kept = keep(
        "sh", "-c", f"{sys.executable} -c '{orphan}' & sleep 0.1; while :; do sleep 0.05; done"
    )
    until(lambda: kept.said.endswith("\n"))
    left = int(kept.said)
    os.kill(kept.engine(), signal.SIGKILL)
    assert kept.ended() == 128 + signal.SIGKILL
    assert state_of(left) == "Z"


def test_its_log_is_bounded(keep: Keep) -> None:
    kept = keep(
        "sh", "-c", "for n in 1 2 3 4 5 6 7 8; do echo line $n; sleep 0.02; done", max_bytes=30
    )
    assert kept.ended() == 0
    older = kept.log.with_name("engine.log.1")
    assert kept.log.stat().st_size <= 30
    assert older.stat().st_size <= 30
    assert kept.said.endswith("line 8\n")


def test_a_log_that_cannot_be_written_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder/log"
    path.parent.mkdir()
    log = BoundedLog(path, 10)
    log.write(b"a\n")
    path.unlink()
    path.parent.rmdir()
    log.write(b"0123456789\n")
    log.write(b"more\n")
    assert not path.exists()


def test_a_log_is_gone_on_with(tmp_path: Path) -> None:
    BoundedLog(tmp_path / "log", 100).write(b"one\n")
    BoundedLog(tmp_path / "log", 100).write(b"two\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
