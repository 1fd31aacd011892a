"""An endpoint that may say "later": it is asked again, after a while.

A comparison is no load test: a limit that it runs into says nothing about a model. Only answers
that say so before anything was computed are asked for again.
"""

from collections.abc import Awaitable, Callable

import anyio

from gateway.quality.reader import Askable
from gateway.remote.answer import Answer, Question
from gateway.remote.endpoint import AskFailed

LATER = (429, 503)
WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # a limit per minute is over after these


class Patient:
    """Asks again after each of `waits_s`, then takes the last answer."""

    def __init__(
        self,
        endpoint: Askable,
        *,
        waits_s: tuple[float, ...] = WAITS_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._endpoint = endpoint
        self._waits_s = waits_s
        self._sleep = sleep

    async def stream(self, question: Question) -> Answer:
        for wait_s in self._waits_s:
            answer = await self._endpoint.stream(question)
            if answer.failure is None or answer.failure.status not in LATER:
                return answer
            await self._sleep(wait_s)
        return await self._endpoint.stream(question)

    async def whole(self, method: str, path: str, body: object = None) -> bytes:
        """Raises AskFailed."""
        for wait_s in self._waits_s:
            try:
                return await self._endpoint.whole(method, path, body)
            except AskFailed as failed:
                if failed.failure.status not in LATER:
                    raise
            await self._sleep(wait_s)
        return await self._endpoint.whole(method, path, body)
