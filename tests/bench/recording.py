"""What recording one call in the metrics costs: `python -m tests.bench.recording`.

In one process, without sockets: the least of several runs, in microseconds of CPU. A scrape is
of a fleet of 40 replicas that 100 callers use.
"""

import time
from collections.abc import Callable

from gateway.proxy.tally import Tally
from gateway.telemetry.exemplars import Mark
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.negotiation import Format
from gateway.wire.usage import Usage

ROUTE = ("llama-3.1-8b", "llama-3.1-8b:fp8", "10.0.3.11:8000")
USAGE = Usage(1200, 200, 1024)
MARK = Mark(1 << 100, 1 << 50, 1_700_000_000.0)
_RUNS = 7


def least_us(do: Callable[[], object], times: int) -> float:
    """CPU of one time, in the best of several runs."""
    best_s = float("inf")
    for _ in range(_RUNS):
        begin_s = time.process_time()
        for _ in range(times):
            do()
        best_s = min(best_s, (time.process_time() - begin_s) / times)
    return best_s * 1e6


def a_call(metrics: Metrics, *, is_traced: bool = False, caller: str = "team-search") -> None:
    """A streamed answer that came whole."""
    tally = Tally(metrics, ROUTE, "ok", 2.5, 0.2, USAGE, 200)
    tally.tell(caller, is_whole=True)
    if is_traced:
        tally.mark(MARK)


def a_fleet() -> Metrics:
    metrics = Metrics()
    for number in range(40):
        tally = Tally(metrics, ("m", "m", f"r{number}"), "ok", 2.5, 0.2, USAGE, 200)
        tally.tell(f"team-{number}", is_whole=True)
        tally.mark(MARK)
    for number in range(100):
        a_call(metrics, caller=f"team-{number}")
    return metrics


def measured(times: int = 20_000) -> dict[str, float]:
    """Microseconds of CPU, by what was done."""
    metrics, full, fleet = Metrics(), Metrics(max_callers=0), a_fleet()
    gap = metrics.route(ROUTE).inter_token
    scrapes = max(1, times // 2000)
    return {
        "a call": least_us(lambda: a_call(metrics), times),
        "a call of a caller without a name": least_us(lambda: a_call(full), times),
        "a traced call": least_us(lambda: a_call(metrics, is_traced=True), times),
        "a token": least_us(lambda: gap.observe(0.012), times),
        "a scrape": least_us(fleet.render, scrapes),
        "a scrape as OpenMetrics": least_us(lambda: fleet.render(Format.OPENMETRICS), scrapes),
    }


if __name__ == "__main__":
    for name, cost_us in measured().items():
        print(f"{name}: {cost_us:.2f} us")
