"""Who has been served how much: virtual token counters. Pure.

The caller with the smallest counter is next. A call is charged when it gets its place with what
it will take: its prompt and the usual answer of its caller. When it is over, that is corrected to
what was truly served. So a caller is charged before the tokens come, not after, and nobody gets
many places on the credit of answers that are still being written. Counters grow by tokens
divided by the caller's weight; a token written counts twice one read.

A caller that comes back after a pause is lifted to the smallest counter of those that wait: a
pause earns nothing. Two callers that both have calls waiting are never further apart than about
two calls' tokens.

Source: Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024), algorithm 2 with
its weights, and its variant that predicts lengths. How long answers take is estimated as TCP does
it for round trips (RFC 6298).
"""

from collections.abc import Iterable
from typing import Final

INPUT_WEIGHT: Final = 1.0
OUTPUT_WEIGHT: Final = 2.0
# callers of which something is remembered
MOST_KNOWN: Final = 10_000
_USUAL_OUTPUT: Final = 256.0
_MEMORY: Final = 0.9
# mean deviations beyond the mean, which few answers exceed
_SPREAD: Final = 2.0


class Tally:
    """One caller: `served` so far, its `weight`, and how its answers usually are."""

    __slots__ = ("_off_s", "_took_s", "served", "usual_cost", "usual_output", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.served = 0.0
        self.usual_output = _USUAL_OUTPUT
        self.usual_cost = cost(0, _USUAL_OUTPUT)
        self._took_s: float | None = None
        self._off_s = 0.0

    def predicted(self, prompt_tokens: float, most_output: float | None) -> float:
        """What a call will cost. `most_output`: what its client allows, None: nothing said."""
        output = self.usual_output
        if most_output is not None and 0 <= most_output < output:
            output = most_output
        return cost(prompt_tokens, output)

    @property
    def needs_s(self) -> float | None:
        """How long nearly all of its answers take at most; None: there was none yet."""
        return None if self._took_s is None else self._took_s + _SPREAD * self._off_s

    def took(self, seconds: float, *, is_whole: bool) -> None:
        """How long an answer took, or one that was cut off had taken by then."""
        known = self._took_s
        if known is None:
            self._took_s, self._off_s = seconds, seconds / 2
        elif is_whole or seconds > known:
            self._off_s = self._off_s * _MEMORY + abs(seconds - known) * (1 - _MEMORY)
            self._took_s = known * _MEMORY + seconds * (1 - _MEMORY)

    def charge(self, tokens: float) -> None:
        self.served += tokens / self.weight

    def settle(self, held: float, prompt_tokens: float, output_tokens: float) -> None:
        """A call is over; `held` was charged for it."""
        true = cost(prompt_tokens, output_tokens)
        self.charge(true - held)
        if true:
            self.usual_output = self.usual_output * _MEMORY + output_tokens * (1 - _MEMORY)
            self.usual_cost = self.usual_cost * _MEMORY + true * (1 - _MEMORY)


class Counters:
    """The callers of one variant."""

    __slots__ = ("_floor", "_tallies")

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._floor = 0.0

    def of(self, caller: str, weight: float) -> Tally:
        """A caller's tally, with the weight that it has now."""
        tally = self._tallies.get(caller)
        if tally is None:
            if len(self._tallies) >= MOST_KNOWN:
                self._forget()
            tally = self._tallies[caller] = Tally(weight)
            tally.served = self._floor
        tally.weight = weight
        return tally

    def lift(self, tally: Tally, waiting: Iterable[Tally]) -> None:
        """A caller's first waiting call has come; `waiting`: those of the others."""
        least = min((other.served for other in waiting), default=self._floor)
        tally.served = max(tally.served, least)

    def left(self, tally: Tally) -> None:
        """A call of this caller has got a place."""
        self._floor = tally.served

    def _forget(self) -> None:
        """Those that would be lifted anyway; where that does not help, all."""
        ahead = {name: one for name, one in self._tallies.items() if one.served > self._floor}
        self._tallies = ahead if len(ahead) < MOST_KNOWN else {}


def cost(prompt_tokens: float, output_tokens: float) -> float:
    """Weighted tokens."""
    return INPUT_WEIGHT * prompt_tokens + OUTPUT_WEIGHT * output_tokens
