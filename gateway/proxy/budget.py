"""How many retries a model has left: a share of its recent requests, and a small floor. Pure.

When everything fails, every request that is tried three times makes a brown-out three times
as bad. So the retries of the last ten seconds are never more than `ratio` of the requests of
the last ten seconds, or than `floor` where that is more: a quiet model may retry as well.

Each process keeps its own. The window moves in steps of a second.

Source: Finagle's and Linkerd's retry budgets (20 % over 10 s); Envoy's (20 %, never under 3).
"""

from typing import Final

WINDOW_S: Final = 10.0
_STEPS: Final = 10
_STEP_S: Final = WINDOW_S / _STEPS


class RetryBudget:
    """Counts one model's requests and retries."""

    __slots__ = ("_requests", "_retries", "_step", "_step_ends_s")

    def __init__(self, now_s: float) -> None:
        self._requests = [0] * _STEPS
        self._retries = [0] * _STEPS
        self._step = 0
        self._step_ends_s = now_s + _STEP_S

    def count_request(self, now_s: float) -> None:
        """A call is tried for the first time."""
        if now_s >= self._step_ends_s:
            self._move(now_s)
        self._requests[self._step] += 1

    def count_retry(self, now_s: float) -> None:
        """A call is tried again."""
        if now_s >= self._step_ends_s:
            self._move(now_s)
        self._retries[self._step] += 1

    def has_room(self, now_s: float, *, ratio: float, floor: int) -> bool:
        """Whether one more retry is within the budget."""
        if now_s >= self._step_ends_s:
            self._move(now_s)
        return sum(self._retries) + 1 <= max(floor, ratio * sum(self._requests))

    def _move(self, now_s: float) -> None:
        """Forget the steps that have left the window."""
        passed = int((now_s - self._step_ends_s) / _STEP_S) + 1
        for _ in range(min(passed, _STEPS)):
            self._step = (self._step + 1) % _STEPS
            self._requests[self._step] = self._retries[self._step] = 0
        self._step_ends_s += passed * _STEP_S
