"""The command line in a process of its own, seen as whoever started it sees it."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process

from tests.support.leaks import LEDGER, plant_for_command
from tests.support.running import until

CHECKOUT = Path(__file__).parents[2]
_END_S = 15.0
_SERVING = ("serve", "up", "demo")  # what others say is their answer, no log


@dataclass(slots=True)
class Child:
    """A command that runs. `out` and `err` hold what it has said until now."""

    process: Process
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)

    @property
    def said(self) -> str:
        return self.err.decode()

    async def says(self, text: str, within_s: float = 20.0) -> None:
        """Wait until stderr has this text."""
        try:
            await until(lambda: text in self.said or self._has_ended(), within_s)
        except TimeoutError as exc:
            raise AssertionError(f"waited for {text!r}, got:\n{self.said}") from exc
        assert text in self.said, self.said

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float = _END_S) -> int:
        """Wait for the exit code; a stack among its last words fails the test."""
        with anyio.fail_after(within_s):
            code = await self.process.wait()
        assert "Traceback" not in self.said, self.said
        assert b"Traceback" not in self.out
        return code

    def _has_ended(self) -> bool:
        return self.process.returncode is not None


@asynccontextmanager
async def a_child(
    *arguments: str, environ: Mapping[str, str] | None = None, module: str = "gateway"
) -> AsyncIterator[Child]:
    """Run `python -m gateway ARGUMENTS`; what still runs when left is killed."""
    command = [sys.executable, "-m", module, *arguments]
    plant_for_command(arguments, environ or {})
    async with await anyio.open_process(
        command,
        stdin=subprocess.DEVNULL,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **(environ or {})},
        start_new_session=True,
    ) as process:
        child = Child(process)
        assert process.stdout
        assert process.stderr
        async with anyio.create_task_group() as readers:
            readers.start_soon(_keep, process.stdout, child.out)
            readers.start_soon(_keep, process.stderr, child.err)
            try:
                yield child
            finally:
                if process.returncode is None:
                    process.kill()
                readers.cancel_scope.cancel()
                LEDGER.hear(child.err)
                if module != "gateway" or arguments[0] in _SERVING:
                    LEDGER.hear(child.out)


async def _keep(stream: ByteReceiveStream, kept: bytearray) -> None:
    with suppress(anyio.ClosedResourceError):  # a test may stop listening
        async for piece in stream:
            kept += piece


def children_of(pid: int) -> list[int]:
    """The processes that this one has started and that still live, the oldest first.

    Numbers of processes begin anew when they are used up: they do not tell who is older.
    """
    found: list[tuple[int, int]] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            state, parent, started = _stat(int(entry.name))
            if parent == pid and state != "Z":
                found.append((started, int(entry.name)))
    return [child for _, child in sorted(found)]


def state_of(pid: int) -> str:
    """The kernel's letter for what a process does: `T` stands still, `Z` is dead."""
    return _stat(pid)[0]


def _stat(pid: int) -> tuple[str, int, int]:
    """State, parent, and when it started; dead and nobody's when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "Z", 0, 0
    return fields[0], int(fields[1]), int(fields[19])


def logged(lines: Sequence[str] | str, event: str) -> list[str]:
    """The log lines of this event."""
    split = lines.splitlines() if isinstance(lines, str) else lines
    return [line for line in split if f'"event":"{event}"' in line]
