"""Who is told what a discovery finds: remembers it, and waits for it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from gateway.fleet.discovery.endpoint import Discovery, Endpoint

PATIENCE_S = 20.0


class Heard:
    """Everything that was told, in order."""

    def __init__(self) -> None:
        self.sets: list[list[Endpoint]] = []
        self.failures: list[str] = []
        self.confirmations = 0

    def found(self, endpoints: Sequence[Endpoint]) -> None:
        self.sets.append(list(endpoints))

    def confirmed(self) -> None:
        self.confirmations += 1

    def failed(self, reason: str) -> None:
        self.failures.append(reason)

    @property
    def names(self) -> list[str] | None:
        """Those that were found last; None: nothing yet."""
        return [one.name for one in self.sets[-1]] if self.sets else None

    @property
    def hosts(self) -> list[str] | None:
        return [one.host for one in self.sets[-1]] if self.sets else None

    async def until(self, is_so: Callable[[], bool]) -> None:
        """TimeoutError where it does not come."""
        with anyio.fail_after(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110  # nothing announces what is waited for
                await anyio.sleep(0.005)


@asynccontextmanager
async def listening(discovery: Discovery) -> AsyncIterator[Heard]:
    """Let it run until left."""
    heard = Heard()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(discovery.run, heard)
        yield heard
        tasks.cancel_scope.cancel()
