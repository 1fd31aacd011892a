"""Admitted against allowed: many gateway processes on one Redis, offered far more than they may.

`python -m tests.bench.limits` starts a Redis, a fake engine and 1, 4 and 16 gateways, offers ten
times the allowed load to all of them in turn, and writes when each call was admitted as a plot
and as a table. Exit status: 0 when no curve was ever above its limit and none fell below 97 %
of it, else 1.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from tests.bench.candidates import redis_server, serving, sluicegate, wait_until_it_answers
from tests.bench.limits.curve import Allowed, Curve, curve
from tests.bench.limits.offer import offered
from tests.bench.limits.plot import plotted
from tests.bench.processes import CHECKOUT, BenchFailed, allow_open_files, started
from tests.support.ports import free_port

_PLOT = CHECKOUT / "docs" / "limits.svg"
_LEAST_USE = 0.97


def admitted(
    processes: int, allowed: Allowed, seconds: float, times: float, on: frozenset[int]
) -> Sequence[float]:
    """When calls were admitted, in seconds since the first was offered. Raises BenchFailed."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(on))
        engine = free_port()
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        command = [sys.executable, "-m", "tests.bench.engine", str(engine), "1", "1"]
        process = stack.enter_context(started(command, on, folder / "engine"))
        wait_until_it_answers("the engine", process, engine, folder / "engine")
        plan = {
            "requests_per_minute": round(allowed.per_s * 60),
            "burst": {"requests_per_minute": allowed.burst},
        }
        candidate = sluicegate(
            limits={"store": "redis", "redis_url": {"value": f"redis://127.0.0.1:{redis}"}},
            plan=plan,
        )
        ports = [stack.enter_context(serving(candidate, engine, on)).port for _ in range(processes)]
        return anyio.run(offered, ports, allowed.per_s * times, seconds)


def main(arguments: Sequence[str]) -> int:
    chosen = _options(arguments)
    allow_open_files()
    allowed = Allowed(chosen.per_second, chosen.burst)
    everywhere = frozenset(range(1024))
    curves: list[Curve] = []
    for processes in chosen.processes:
        try:
            times = admitted(processes, allowed, chosen.seconds, chosen.times, everywhere)
        except BenchFailed as failure:
            print(f"{processes} processes: {failure}", file=sys.stderr)
            return 1
        found = curve(processes, times, allowed, chosen.seconds)
        curves.append(found)
        print(json.dumps(found.summary()), flush=True)
    if chosen.plot:
        chosen.plot.write_text(plotted(curves, allowed, chosen.seconds))
    return int(any(one.above > 0 or one.use < _LEAST_USE for one in curves))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.limits", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--per-second", type=float, default=20.0, help="allowed calls")
    parser.add_argument("--burst", type=int, default=40)
    parser.add_argument("--times", type=float, default=10.0, help="offered, of what is allowed")
    parser.add_argument("--plot", type=Path, default=_PLOT, help="where the SVG goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
