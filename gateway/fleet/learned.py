"""How many of our requests an engine runs at once, learned from what it says. Pure.

No engine tells its largest batch, and how many requests fit into its KV cache depends on their
length. But vLLM, TGI and llama.cpp say how many run and how many wait. When more wait than a
sliver at two probes in a row, what runs is all that the engine can do now: then our part of it is
the target, and that sliver more, so that a place that comes free is filled without a round trip.
When nothing waits though the target was reached, it grows.

Every process learns its own part, so siblings need not share anything out: where the engine is
full, what each sees running of its own is what it keeps.
"""

from typing import Final

from gateway.engines.adapter import Load

# vLLM's own default for its largest batch on most GPUs
START: Final = 256
_TOKENS_PER_CALL: Final = 256
_FULL_CACHE: Final = 0.95
_SLIVER: Final = 16
_GROWTH: Final = 4


class Learned:
    """The target of one replica."""

    __slots__ = ("_ran", "target")

    def __init__(self, load: Load) -> None:
        tokens = load.kv_cache_tokens
        fits = START if tokens is None else tokens // _TOKENS_PER_CALL
        self.target = max(1, min(START, fits))
        self._ran: float | None = None

    def probed(self, load: Load, ours: float, *, was_reached: bool) -> None:
        """`ours`: requests that we had there; `was_reached`: since the last probe."""
        running, waiting = load.running or 0.0, load.waiting or 0.0
        if waiting > _sliver(running):
            part = min(1.0, ours / (running + waiting))
            before, self._ran = self._ran, running * part
            if before is not None:
                ran = max(before, self._ran)
                self.target = max(1, min(self.target, round(ran + _sliver(ran))))
            return
        self._ran = None
        has_memory = (load.kv_cache_used_ratio or 0.0) < _FULL_CACHE
        if was_reached and not waiting and has_memory:
            self.target += max(1, self.target // _GROWTH)

    def refused(self, limit: int) -> None:
        """The engine says that it has too much: no more than this from now on."""
        self.target = max(1, limit)


def _sliver(running: float) -> float:
    return max(1.0, running // _SLIVER)
