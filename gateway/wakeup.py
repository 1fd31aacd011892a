"""Wake one waiting coroutine, or let it go on at a deadline. Cheaper than an event and a scope."""

import asyncio

from gateway.clock import Clock


class Signal:
    """Set by whoever has something to say; one coroutine waits."""

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        self.nudge()

    def nudge(self) -> None:
        """Wake whoever waits, without being set."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, until_s: float, clock: Clock) -> None:
        """Return when set, or when the clock shows `until_s`."""
        if self._is_set:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(max(0.0, until_s - clock.now_s()), self.nudge)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
