"""Requests of a load test that came to some end, and what a client measured of itself."""

from array import array
from collections.abc import Sequence

from gateway.loadtest.outcome import Outcome
from gateway.loadtest.overhead import ClientLoad
from gateway.loadtest.slo import Slo
from gateway.loadtest.summary import Summary, summary_of
from gateway.remote.failure import Failure

IDLE = ClientLoad(stalls_s=(0.0, 0.001), cpu_s=0.1, wall_s=1.0)
REFUSED = Failure("429 rate_limit_exceeded", "too many requests", 429)


def an_outcome(
    number: int = 0,
    *,
    at_s: float = 0.0,
    lag_s: float = 0.0,
    ttft_s: float = 0.1,
    itl_s: float = 0.01,
    tokens: int = 5,
    tail_s: float = 0.0,
    cached_tokens: int = 0,
    counted: bool = True,
    failure: Failure | None = None,
) -> Outcome:
    """One that was meant to start at `at_s`; its first token comes `ttft_s` after that."""
    times = array("d", (at_s + ttft_s + i * itl_s for i in range(0 if failure else tokens)))
    last_s = times[-1] if times else at_s + ttft_s
    return Outcome(
        number=number,
        intended_s=at_s,
        sent_s=at_s + lag_s,
        ended_s=last_s + tail_s,
        times_s=times,
        prompt_tokens=20 if counted and not failure else 0,
        cached_tokens=cached_tokens,
        completion_tokens=len(times),
        counted=counted and not failure,
        finish_reason=None if failure else "length",
        failure=failure,
    )


def a_summary(
    outcomes: Sequence[Outcome],
    slo: Slo | None = None,
    *,
    is_open: bool = True,
    unfinished: int = 0,
) -> Summary:
    return summary_of(outcomes, IDLE, slo or Slo(), is_open=is_open, unfinished=unfinished)
