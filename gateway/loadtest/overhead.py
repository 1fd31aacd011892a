"""What the load generator itself adds, and whether it was the bottleneck. No I/O.

Three things tell: how late requests were sent, how late its event loop woke a watcher (every
time it takes may be as late), and how much of a CPU core it used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.figures.quantiles import Spread, spread_of

MAX_LAG_MS = 10.0
MAX_LAG_SHARE = 0.05
MAX_STALL_MS = 10.0
MAX_CPU_RATIO = 0.85


@dataclass(frozen=True, slots=True)
class ClientLoad:
    """What the generator measured of itself. `stalls_s`: how late its watcher woke, each time."""

    stalls_s: Sequence[float]
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Overhead:
    """Milliseconds. `cpu_ratio`: of one core. `warnings`: why figures are not the endpoint's."""

    lag_ms: Spread | None
    stall_ms: Spread | None
    cpu_ratio: float
    warnings: tuple[str, ...]

    @property
    def is_saturated(self) -> bool:
        """Whether it could do no more."""
        return self.cpu_ratio > MAX_CPU_RATIO


def overhead_of(lags_s: Sequence[float], client: ClientLoad, ttft_p50_ms: float) -> Overhead:
    """`lags_s`: of the requests; `ttft_p50_ms` says what lag matters here."""
    lag = spread_of(1000 * one for one in lags_s)
    stall = spread_of(1000 * one for one in client.stalls_s)
    cpu_ratio = client.cpu_s / client.wall_s if client.wall_s > 0 else 0.0
    warnings: list[str] = []
    if lag is not None and lag.p99 > max(MAX_LAG_MS, MAX_LAG_SHARE * ttft_p50_ms):
        warnings.append(
            f"1 % of the requests were sent {lag.p99:.0f} ms late or more, and that time is in "
            "their latency"
        )
    if stall is not None and stall.p99 > MAX_STALL_MS:
        warnings.append(f"its event loop was held up for {stall.p99:.0f} ms (p99)")
    if cpu_ratio > MAX_CPU_RATIO:
        warnings.append(f"it used {cpu_ratio:.0%} of a core, and has only one")
    return Overhead(lag, stall, cpu_ratio, tuple(warnings))
