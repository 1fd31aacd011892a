"""Child processes that end with us: pinned, started, asked and ended, each within a deadline."""

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from tests.bench.load import Plan, Result

CHECKOUT = Path(__file__).parents[2]
_END_S = 10.0
_START_LOAD_S = 20.0
_LOOK_S = 0.5
_OPEN_FILES = 8192
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class BenchFailed(Exception):
    """What went wrong, in words for whoever started the benchmark."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where processes run: the engine and the load here, what is measured there."""

    work: frozenset[int]
    measured: frozenset[int]

    @property
    def are_apart(self) -> bool:
        return not self.work & self.measured


def cores() -> Cores:
    """The first core that we may use for the work, the second for what is measured."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return Cores(frozenset(usable), frozenset(usable))
    return Cores(frozenset(usable[:1]), frozenset(usable[1:2]))


def allow_open_files() -> None:
    """Raise the limit of open files, which children inherit, as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def need_free(port: int) -> None:
    """Raises BenchFailed when something listens there: we would measure it instead."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise BenchFailed(f"cannot use port {port}: {exc.strerror}") from exc


@contextmanager
def started(
    command: Sequence[str],
    on: frozenset[int],
    log: Path,
    *,
    cwd: Path = CHECKOUT,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group on these cores; it and its children are ended when left."""
    with log.open("wb") as output:
        process = _popen(command, on, stdout=output, stderr=output, cwd=cwd, env=env)
    try:
        yield process
    finally:
        _end(process)


def run_load(plan: Plan, on: frozenset[int], look: Callable[[], None] | None = None) -> Result:
    """Run the load to its end. `look` is called now and then while it runs."""
    command = [sys.executable, "-m", "tests.bench.load"]
    process = _popen(command, on, subprocess.PIPE, subprocess.PIPE, stdin=subprocess.PIPE)
    given: bytes | None = json.dumps(asdict(plan)).encode()
    left_s = plan.limit_s + _START_LOAD_S
    try:
        while left_s > 0:
            try:
                out, err = process.communicate(given, timeout=_LOOK_S)
            except subprocess.TimeoutExpired:
                given = None
                left_s -= _LOOK_S
                if look is not None:
                    look()
                continue
            if process.returncode:
                raise BenchFailed(f"the load failed: {last_words(err)}")
            return Result(**json.loads(out))
    finally:
        _end(process)
    raise BenchFailed(f"the load did not end within {plan.limit_s + _START_LOAD_S:.0f} s")


def last_words(output: bytes) -> str:
    """The end of what a process has said."""
    return "\n".join(output.decode(errors="replace").strip().splitlines()[-8:]) or "it said nothing"


def _popen(
    command: Sequence[str],
    on: frozenset[int],
    stdout: int | BinaryIO,
    stderr: int | BinaryIO,
    *,
    stdin: int = subprocess.DEVNULL,
    cwd: Path = CHECKOUT,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    def prepare() -> None:
        os.sched_setaffinity(0, on)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # even if we are killed

    try:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509  # no thread of ours holds a lock here
        )
    except OSError as exc:
        raise BenchFailed(f"cannot start {command[0]}: {exc.strerror}") from exc


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_END_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
