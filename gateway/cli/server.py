"""uvicorn, with a shutdown that clients can live with.

On the first SIGTERM or SIGINT the gateway drains: it goes on listening, so that `/ready` says
503 and new calls are told to go elsewhere, until the calls that run have finished or the grace
is over. What still runs then is cancelled and gets its error event. A second signal cancels at
once what still runs; parts that live long are closed in order all the same. A signal before the
start is complete ends the gateway as soon as it is.

A worker that others stand in for retires instead: it takes no new connection, and those that it
has go on as ever; their next answer is their last. A client may be about to use one that is
idle, so it is left open for longer than clients keep such connections (httpx and the SDKs over
it 5 s, Node 4 s).
"""

import asyncio
import logging
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, cast

import uvicorn
from typing_extensions import override

from gateway.clock import Clock
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names

if TYPE_CHECKING:
    from gateway.api.connection import Connection

log = logging.getLogger(__name__)

_TICKS_PER_LINE = 50  # uvicorn ticks ten times a second
_IDLE_S = 6.0


class DrainingServer(uvicorn.Server):
    """`begin_drain` tells the gateway; `open_calls` how many calls are still running.

    `is_hurried`: a second signal has come.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        begin_drain: Callable[[], None],
        open_calls: Callable[[], int],
        grace_s: float,
        clock: Clock,
    ) -> None:
        super().__init__(config)
        self._begin_drain = begin_drain
        self._open_calls = open_calls
        self._grace_s = grace_s
        self._clock = clock
        self._drain_until_s: float | None = None
        self._drain_ticks = 0
        self._retires_until_s: float | None = None
        self.is_hurried = False
        self.on_started: Callable[[], None] = _nobody_asks

    def retire(self) -> None:
        """Take no new connection, and end when those that there are have come to their end."""
        if self._retires_until_s is None and self.started:
            self._retires_until_s = self._clock.now_s() + max(self._grace_s, 2 * _IDLE_S)
            for server in self.servers:
                server.close()
            self._retire_connections()

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain_until_s is not None or not self.started:
            self.is_hurried = self.started
            self.should_exit = True
            # a signal may come between any two instructions of the loop
            asyncio.get_running_loop().call_soon_threadsafe(self._cancel_calls)
            return
        self._drain_until_s = self._clock.now_s() + self._grace_s
        self._begin_drain()

    @override
    async def on_tick(self, counter: int) -> bool:
        if counter == 0:
            self.on_started()
        if self._retires_until_s is not None and self._drain_until_s is None:
            is_late = self._clock.now_s() >= self._retires_until_s
            if not self._retire_connections() or is_late:
                self.should_exit = True
        until_s = self._drain_until_s
        if until_s is not None and not self.should_exit:
            running = self._open_calls()
            if self._drain_ticks % _TICKS_PER_LINE == 0:
                log.info(F.DRAINING, extra={F.IN_FLIGHT: running, F.GRACE_S: self._grace_s})
            self._drain_ticks += 1
            self.should_exit = running == 0 or self._clock.now_s() >= until_s
        return await super().on_tick(counter)

    def _retire_connections(self) -> bool:
        """Whether there are any; some may have been accepted right before."""
        connections = [cast("Connection", one) for one in self.server_state.connections]
        for connection in connections:
            connection.retire(_IDLE_S)
        return bool(connections)

    def _cancel_calls(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()


def _nobody_asks() -> None:
    """For servers that no parent waits for."""
