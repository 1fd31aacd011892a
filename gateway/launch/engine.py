"""The life of one engine: started, ready, ended, started again, until it is stopped or given up.

Engines that share a GPU are loaded one after the other: vLLM measures what is free while it
loads, and refuses to start when a neighbour changes that meanwhile.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum

import anyio

from gateway.clock import Clock
from gateway.launch.process import EngineProcess, Start
from gateway.launch.progress import last_lines, stage
from gateway.launch.restarts import Restarts

_LOOK_EVERY_S = 0.25
_LAST_LINES = 20


class Phase(StrEnum):
    """What an engine does now."""

    WAITING = "waiting for its turn on a GPU"
    LOADING = "loading"
    READY = "ready"
    PAUSING = "waiting to be started again"
    GIVEN_UP = "given up"


class EngineLife:
    """One engine. `tell` is given a line of text for each change; `is_ready` asks the engine."""

    def __init__(
        self,
        name: str,
        start: Start,
        *,
        load_time_s: float,
        is_ready: Callable[[], Awaitable[bool]],
        tell: Callable[[str], None],
        turns: Sequence[anyio.Lock],
        hurry: anyio.Event,
        clock: Clock,
    ) -> None:
        self.name = name
        self.phase = Phase.WAITING
        self.stage: str | None = None
        self._start = start
        self._load_time_s = load_time_s
        self._is_ready = is_ready
        self._tell = tell
        self._turns = turns
        self._hurry = hurry
        self._clock = clock

    @property
    def now(self) -> str:
        """What it does, in words."""
        return f"{self.name}: {(self.stage if self.phase is Phase.LOADING else None) or self.phase}"

    async def run(self) -> None:
        """Keep it running until cancelled; returns when it is given up."""
        restarts = Restarts()
        while True:
            process, served_s, reason = await self._one_run()
            pause_s = restarts.pause_s(served_s)
            self._tell_end(process, reason, pause_s)
            if pause_s is None:
                self.phase = Phase.GIVEN_UP
                return
            self.phase = Phase.PAUSING
            await anyio.sleep(pause_s)

    async def _one_run(self) -> tuple[EngineProcess, float | None, str]:
        """From one start to its end: the process, how long it was ready, and why it ended."""
        self.phase, self.stage = Phase.WAITING, None
        async with AsyncExitStack() as turn:
            for lock in self._turns:
                await turn.enter_async_context(lock)
            self.phase = Phase.LOADING
            process = await EngineProcess.started(self._start)
            try:
                late = await self._has_loaded(process)
                if late is None:
                    await turn.aclose()
                    since_s = self._clock.now_s()
                    code = await process.ended()
                    return process, self._clock.now_s() - since_s, _ending(code)
                return process, None, late
            finally:
                with anyio.CancelScope(shield=True):  # `stop` has a deadline of its own
                    await process.stop(self._hurry)

    async def _has_loaded(self, process: EngineProcess) -> str | None:
        """Wait until it is ready, and tell how far it is. None, or why it will not be."""
        begun_s = self._clock.now_s()
        self._tell(f"{self.name}: starting")
        while self._clock.now_s() - begun_s < self._load_time_s:
            if process.has_ended:
                return _ending(await process.ended())
            if await self._is_ready():
                self.phase = Phase.READY
                self._tell(f"{self.name}: ready after {self._clock.now_s() - begun_s:.0f} s")
                return None
            self._tell_stage(process)
            await anyio.sleep(_LOOK_EVERY_S)
        return f"not ready after {self._load_time_s:g} s"

    def _tell_stage(self, process: EngineProcess) -> None:
        now = stage(process.log_end())
        if now is not None and now != self.stage:
            self.stage = now
            self._tell(f"{self.name}: {now}")

    def _tell_end(self, process: EngineProcess, reason: str, pause_s: float | None) -> None:
        then = "given up" if pause_s is None else f"starts again in {pause_s:g} s"
        self._tell(f"{self.name}: {reason}, {then}; the end of {self._start.log}:")
        for line in last_lines(process.log_end(), _LAST_LINES):
            self._tell(f"{self.name} | {line}")


def _ending(code: int) -> str:
    if code == 127:
        return "could not be started"
    return f"ended by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
