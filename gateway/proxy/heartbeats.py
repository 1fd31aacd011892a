"""Comments that keep a stream alive while its call waits for an engine that is being started.

The first is due after an interval, and brings the status line along: a call that is refused
before has its true status, later ones are told in an event. Timers only, no task.
"""

import asyncio
from types import TracebackType
from typing import Self

from gateway.proxy.client import Client
from gateway.proxy.relay import HEARTBEAT
from gateway.wire.http import Headers


class Heartbeats:
    """`with Heartbeats(...):` while waiting. `head`: the headers of the answer to come."""

    __slots__ = ("_client", "_every_s", "_head", "_loop", "_timer")

    def __init__(self, client: Client, head: Headers, every_s: float) -> None:
        self._client = client
        self._head = head
        self._every_s = every_s

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._every_s, self._beat)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        client = self._client
        if client.is_gone:
            return
        if not client.has_started:
            client.start(200, self._head)
        if client.blocked_since_s is None:
            client.write(HEARTBEAT)
        self._timer = self._loop.call_later(self._every_s, self._beat)
