"""A deadline for everything that one call does, at the price of one timer.

`Deadline` does what `asyncio.timeout` does, without its two coroutine switches per call.
"""

import asyncio
from types import TracebackType
from typing import Self

from gateway.errors import DeadlineExceeded
from gateway.fleet.catalog import Variant
from gateway.proxy.call import Call


class Deadline:
    """`with Deadline(s): ...` cancels its task's body and raises DeadlineExceeded when over.

    `loop` None: the running one, which takes Python 3.11 a system call to find.
    """

    __slots__ = ("_cancelling", "_is_over", "_loop", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._seconds = seconds
        self._loop = loop
        self._is_over = False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = task.get_loop().call_later(self._seconds, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        # somebody else's cancellation, alone or as well, goes on as such
        if not self._is_over:
            return
        others = self._task.uncancel() - self._cancelling
        if others <= 0 and kind is asyncio.CancelledError:
            raise DeadlineExceeded("the answer took longer than the call may take") from error

    def _expire(self) -> None:
        self._is_over = True
        self._task.cancel()


def allowed_s(call: Call, first: Variant) -> float:
    """How long the whole call may take: what its model allows, or less if the client says so."""
    total_s = first.timeouts.total_s
    return total_s if call.timeout_s is None else min(total_s, call.timeout_s)
