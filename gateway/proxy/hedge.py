"""When a short call that takes long gets a second try beside it. Pure.

Few calls are much slower than their siblings for no reason of their own. Once a call has taken
longer than nearly all of the model's recent short calls, another replica is asked as well, and
the first answer counts. That costs at most a small share of extra load, and nothing where
everything is slow: then the share is used up at once.

Source: Dean and Barroso, "The Tail at Scale" (2013): a hedge after the 95th percentile.
"""

from collections import deque
from typing import Final

from gateway.config.models import Hedging
from gateway.proxy.budget import RetryBudget
from gateway.wire.ask import Ask, Operation

_REMEMBERED: Final = 256
_ENOUGH: Final = 32
# sorting costs more than a call may: not for each
_SORTED_EVERY: Final = 16


class Pace:
    """How long one model's short calls take, and how many of them were hedged."""

    __slots__ = ("_calls", "_durations_s", "_sorted_s", "_unsorted")

    def __init__(self, now_s: float) -> None:
        self._durations_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._sorted_s: list[float] = []
        self._unsorted = 0
        self._calls = RetryBudget(now_s)

    def begin(self, now_s: float, rules: Hedging) -> float | None:
        """A short call begins: after how many seconds it is late; None: nobody knows yet."""
        self._calls.count_request(now_s)
        known_s = self._sorted_s
        if not known_s:
            return None
        return known_s[min(len(known_s) - 1, int(len(known_s) * rules.after_percentile / 100))]

    def answered(self, took_s: float) -> None:
        """A short call has its answer."""
        self._durations_s.append(took_s)
        self._unsorted += 1
        if self._unsorted >= _SORTED_EVERY and len(self._durations_s) >= _ENOUGH:
            self._sorted_s = sorted(self._durations_s)
            self._unsorted = 0

    def may_hedge(self, now_s: float, rules: Hedging) -> bool:
        """Whether one more second try is within the share."""
        return self._calls.has_room(now_s, ratio=rules.extra_ratio, floor=0)

    def hedged(self, now_s: float) -> None:
        self._calls.count_retry(now_s)


def is_short(ask: Ask, rules: Hedging) -> bool:
    """Whether an answer is whole and small: a stream shows by itself that it is alive."""
    if ask.stream:
        return False
    if ask.operation is Operation.EMBEDDINGS:
        return True
    return ask.max_tokens is not None and ask.max_tokens * ask.n <= rules.max_tokens
