"""A service level objective for one request, and whether it was met. No I/O.

Goodput counts only requests that meet all that was promised: "DistServe: Disaggregating Prefill
and Decoding for Goodput-optimized Large Language Model Serving" (Zhong et al., OSDI 2024). A
failed request meets nothing.
"""

from dataclasses import dataclass

from typing_extensions import override

from gateway.loadtest.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Slo:
    """Upper bounds in milliseconds; None: not promised.

    `itl_ms` bounds the mean time between tokens of a request, so that one slow gap in a long
    answer is forgiven and a slow answer is not.
    """

    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None

    @property
    def is_given(self) -> bool:
        return (self.ttft_ms, self.itl_ms, self.e2e_ms) != (None, None, None)

    def is_met(self, outcome: Outcome) -> bool:
        """Whether a request kept every promise."""
        if not outcome.is_whole:
            return False
        return (
            _within(outcome.ttft_s, self.ttft_ms)
            and _within(outcome.tpot_s or 0.0, self.itl_ms)
            and _within(outcome.e2e_s, self.e2e_ms)
        )

    @override
    def __str__(self) -> str:
        bounds = (
            ("first token", self.ttft_ms),
            ("between tokens", self.itl_ms),
            ("whole answer", self.e2e_ms),
        )
        return ", ".join(f"{what} within {ms:g} ms" for what, ms in bounds if ms is not None)


def _within(seconds: float | None, limit_ms: float | None) -> bool:
    if limit_ms is None:
        return True
    return seconds is not None and seconds * 1000 <= limit_ms
