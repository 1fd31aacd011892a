"""One engine's process, behind its keeper: started, waited for, stopped; its log's end read."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio
from anyio.abc import Process

from gateway.launch import keeper

MAX_LOG_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_KEEPER_S = 5.0  # beyond the grace, for what it has to sweep up


@dataclass(frozen=True, slots=True)
class Start:
    """How an engine is started. `grace_s`: how long it may take to end."""

    command: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    log: Path
    grace_s: float


class EngineProcess:
    """A running engine. Nothing of it outlives this process."""

    def __init__(self, process: Process, start: Start, log_start: int) -> None:
        self._process = process
        self._start = start
        self._log_start = log_start

    @classmethod
    async def started(cls, start: Start) -> Self:
        """The program itself may still turn out not to exist: it ends with 127 then."""
        log_start = start.log.stat().st_size if start.log.exists() else 0
        process = await anyio.open_process(
            [
                *(sys.executable, "-I", keeper.__file__),
                *(str(start.log), str(MAX_LOG_BYTES), str(start.grace_s)),
                *start.command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=start.folder,
            env=start.environ,
            start_new_session=True,  # a terminal's Ctrl-C reaches it through us alone
        )
        return cls(process, start, log_start)

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def ended(self) -> int:
        """Wait for the exit code; that of a signal is 128 and its number."""
        return await self._process.wait()

    async def stop(self, hurry: anyio.Event) -> None:
        """End it, within its grace unless there is a hurry. Does not take longer than both."""
        self._signal(signal.SIGTERM)
        with anyio.move_on_after(self._start.grace_s + _KEEPER_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._kill_in_a_hurry, hurry)
                await self._process.wait()
                tasks.cancel_scope.cancel()
        await self._process.aclose()  # kills a keeper that hangs, and the engine with it

    def log_end(self) -> str:
        """The last of what it has said since it was started."""
        try:
            with self._start.log.open("rb") as file:
                size = file.seek(0, 2)
                begin = self._log_start if size >= self._log_start else 0
                file.seek(max(begin, size - _TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    async def _kill_in_a_hurry(self, hurry: anyio.Event) -> None:
        await hurry.wait()
        self._signal(signal.SIGTERM)  # the second one kills

    def _signal(self, number: signal.Signals) -> None:
        if not self.has_ended:
            self._process.send_signal(number)
