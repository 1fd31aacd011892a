"""All engines of `gateway up`: started together, told of, stopped together."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx

from gateway.clock import Clock
from gateway.engines import ENGINES
from gateway.engines.adapter import State
from gateway.fleet.probe_clients import ProbeClients
from gateway.launch.engine import EngineLife, Phase
from gateway.launch.process import Start

_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """An engine to be started here, and how it is asked whether it is ready.

    `gpus`: the ids of those it loads on.
    """

    name: str
    kind: str
    url: str
    api_key: str | None
    start: Start
    load_time_s: float
    gpus: Sequence[str]


class Engines:
    """`hurry` is set by whoever cannot wait for engines that are being stopped."""

    def __init__(
        self, engines: Sequence[LocalEngine], tell: Callable[[str], None], clock: Clock
    ) -> None:
        self.hurry = anyio.Event()
        self._engines = engines
        self._tell = tell
        self._clock = clock
        self._lives: list[EngineLife] = []

    @property
    def now(self) -> tuple[str, ...]:
        """What each engine does, in words."""
        return tuple(life.now for life in self._lives)

    @property
    def are_given_up(self) -> bool:
        """None of them will ever serve."""
        return all(life.phase is Phase.GIVEN_UP for life in self._lives)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep them running until left; then all of them are stopped side by side."""
        turns: dict[str, anyio.Lock] = {}
        async with ProbeClients() as clients, anyio.create_task_group() as tasks:
            client = clients.trusting(None)
            for engine in self._engines:
                for gpu in engine.gpus:
                    turns.setdefault(gpu, anyio.Lock())
            self._lives = [self._life(engine, client, turns) for engine in self._engines]
            for life in self._lives:
                tasks.start_soon(life.run)
            yield
            tasks.cancel_scope.cancel()

    def _life(
        self, engine: LocalEngine, client: httpx.AsyncClient, turns: Mapping[str, anyio.Lock]
    ) -> EngineLife:
        async def is_ready() -> bool:
            return await _is_ready(engine, client)

        return EngineLife(
            engine.name,
            engine.start,
            load_time_s=engine.load_time_s,
            is_ready=is_ready,
            tell=self._tell,
            # in one order for all, so that no two wait for each other
            turns=[turns[gpu] for gpu in sorted(engine.gpus)],
            hurry=self.hurry,
            clock=self._clock,
        )


async def _is_ready(engine: LocalEngine, client: httpx.AsyncClient) -> bool:
    adapter = ENGINES[engine.kind]
    headers = {} if engine.api_key is None else {"authorization": f"Bearer {engine.api_key}"}
    try:
        answer = await client.get(
            engine.url + adapter.health_path, headers=headers, timeout=_ANSWER_S
        )
    except httpx.HTTPError:
        return False
    return adapter.state(answer.status_code, answer.content) is State.READY
