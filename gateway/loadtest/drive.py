"""Send the requests of one test, each when it is meant to start.

An open loop never waits for an answer: a request that is due is sent, however many are open. The
body of the next request is made before its time has come. Every task is owned by the test, and
what is still open when the test is cancelled is counted as unfinished.
"""

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from gateway.clock import Clock
from gateway.loadtest.arrivals import ClosedLoop, Extent, Load, OpenLoop, Replay, starts
from gateway.loadtest.outcome import Outcome, outcome_of
from gateway.loadtest.overhead import ClientLoad
from gateway.loadtest.requests import Asking, Prompts
from gateway.remote.answer import Question
from gateway.remote.endpoint import Endpoint

_WATCH_S = 0.02

Told = Callable[[Outcome], None]


@dataclass(slots=True)
class Run:
    """What has come of a test until now. `sent` counts all requests, open ones included."""

    outcomes: list[Outcome] = field(default_factory=list)
    sent: int = 0
    client: ClientLoad = field(default_factory=lambda: ClientLoad((), 0.0, 0.0))

    @property
    def unfinished(self) -> int:
        return self.sent - len(self.outcomes)


class Driver:
    """Drives one endpoint through one test. `told` hears of every outcome at once."""

    def __init__(
        self, endpoint: Endpoint, prompts: Prompts, asking: Asking, told: Told = lambda _: None
    ) -> None:
        self.run = Run()
        self._endpoint = endpoint
        self._prompts = prompts
        self._asking = asking
        self._told = told
        self._clock = endpoint.clock
        self._began_s = 0.0

    async def drive(self, load: Load, extent: Extent, rng: random.Random) -> Run:
        """Run the test to its end. `self.run` holds what was measured, also after a cancel."""
        self._began_s = self._clock.now_s()
        cpu_s = _cpu_s()
        stalls_s: list[float] = []
        try:
            async with _watched(self._clock, stalls_s):
                if isinstance(load, ClosedLoop):
                    await self._closed(load, extent)
                else:
                    await self._open(load, extent, rng)
        finally:
            wall_s = self._clock.now_s() - self._began_s
            self.run.client = ClientLoad(stalls_s, _cpu_s() - cpu_s, wall_s)
        return self.run

    async def _open(self, load: OpenLoop | Replay, extent: Extent, rng: random.Random) -> None:
        async with anyio.create_task_group() as requests:
            for number, at_s in enumerate(starts(load, extent, rng)):
                question = self._question(number)
                await anyio.sleep(max(0.0, at_s - self._passed_s()))
                requests.start_soon(self._ask, number, at_s, question)

    async def _closed(self, load: ClosedLoop, extent: Extent) -> None:
        numbers = iter(range(extent.requests)) if extent.requests else iter(range(1 << 62))

        async def a_user() -> None:
            for number in numbers:
                question = self._question(number)
                now_s = self._passed_s()
                if not extent.has_room(number, now_s):
                    return
                await self._ask(number, now_s, question)
                await anyio.sleep(load.think_s)

        async with anyio.create_task_group() as users:
            for _ in range(load.concurrency):
                users.start_soon(a_user)

    async def _ask(self, number: int, intended_s: float, question: Question) -> None:
        self.run.sent += 1
        answer = await self._endpoint.stream(question)
        outcome = outcome_of(number, intended_s, answer, self._began_s)
        self.run.outcomes.append(outcome)
        self._told(outcome)

    def _question(self, number: int) -> Question:
        return self._asking.question(*self._prompts.prompt(number))

    def _passed_s(self) -> float:
        return self._clock.now_s() - self._began_s


@asynccontextmanager
async def _watched(clock: Clock, stalls_s: list[float]) -> AsyncIterator[None]:
    """Wake now and then, and note how late."""

    async def watch() -> None:
        while True:
            due_s = clock.now_s() + _WATCH_S
            await anyio.sleep(_WATCH_S)
            stalls_s.append(max(0.0, clock.now_s() - due_s))

    async with anyio.create_task_group() as watcher:
        watcher.start_soon(watch)
        yield
        watcher.cancel_scope.cancel()


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system
