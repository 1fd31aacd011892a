"""Overload: a gateway in front of a simulated fleet that is offered more than it can do.

`python -m tests.bench.overload` starts simulated vLLMs and a gateway, measures what the engines
can write, and offers 1, 2 and 5 times that: a modest caller wants less than its fair share, a
greedy one all the rest. Each load is offered twice, with the queue and without it (`concurrency:
unlimited`). Prints a line of JSON for each run and draws docs/overload.svg. Exit status: 0 when
goodput with the queue was at least 95 % of the capacity and the modest caller was served at
every load, else 1.
"""

import argparse
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import httpx

from tests.bench.overload.offer import Pace, capacity, offered
from tests.bench.overload.outcome import Run
from tests.bench.overload.plot import plotted
from tests.bench.processes import CHECKOUT, BenchFailed, allow_open_files, started
from tests.support.ports import free_port

_PLOT = CHECKOUT / "docs" / "overload.svg"
_LEAST_GOODPUT = 0.95
_LEAST_SERVED = 0.99
_READY_S = 30.0
_MODEST = 0.3  # of the capacity
_MODEST_TOKENS, _GREEDY_TOKENS = 15, 30
_EVERYWHERE = frozenset(range(1024))


@asynccontextmanager
async def an_engine(at_once: int, token_ms: float) -> AsyncIterator[int]:
    """The port of a simulated vLLM that gives so many requests at once a token in that time."""
    port = free_port()
    command = [sys.executable, "-m", "gateway", "simulate", "--engine", "vllm", "--model", "sim"]
    command += ["--port", str(port), "--max-num-seqs", str(at_once)]
    command += ["--inter-token-ms", str(token_ms), "--inter-token-ms-per-running", "0"]
    with TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        log = Path(name) / "log"
        stack.enter_context(started(command, _EVERYWHERE, log))
        await _until_ready(port, "/health", log)
        yield port


def document(ports: Sequence[int], *, has_queue: bool, max_wait_s: float) -> dict[str, object]:
    variant = {
        "engine": "vllm",
        "served_model": "sim",
        "concurrency": "auto" if has_queue else "unlimited",
        "replicas": [{"url": f"http://127.0.0.1:{port}"} for port in ports],
    }
    return {
        "models": [{"name": "m", "variants": [variant], "queue": {"max_wait_s": max_wait_s}}],
        "keys": [
            {"name": name, "secret": {"value": f"sk-{name}"}} for name in ("modest", "greedy")
        ],
    }


@asynccontextmanager
async def a_gateway(settings: dict[str, object]) -> AsyncIterator[int]:
    """Its port, once it serves. Raises BenchFailed."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder, port = Path(name), free_port()
        (folder / "gateway.yaml").write_text(json.dumps(settings))
        command = [sys.executable, "-m", "gateway", "serve", "-c", str(folder / "gateway.yaml")]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        with started(command, _EVERYWHERE, folder / "log"):
            await _until_ready(port, "/ready", folder / "log")
            yield port


async def _until_ready(port: int, path: str, log: Path) -> None:
    async with httpx.AsyncClient(timeout=2) as client:
        with anyio.move_on_after(_READY_S):
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{port}{path}")).status_code == 200:
                        return
                await anyio.sleep(0.1)
    raise BenchFailed(f"nothing is ready: {(await anyio.Path(log).read_text())[-2000:]}")


async def measured(chosen: argparse.Namespace) -> AsyncIterator[Run]:
    """Every load, with the queue and without it."""
    async with AsyncExitStack() as stack:
        ports = [
            await stack.enter_async_context(an_engine(chosen.at_once, chosen.token_ms))
            for _ in range(chosen.replicas)
        ]
        most = await capacity(ports, chosen.at_once, _GREEDY_TOKENS, chosen.capacity_seconds)
        for load in chosen.loads:
            for name in ("queue", "none"):
                settings = document(ports, has_queue=name == "queue", max_wait_s=chosen.patience)
                paces = (
                    Pace("modest", "sk-modest", _MODEST * most / _MODEST_TOKENS, _MODEST_TOKENS),
                    Pace(
                        "greedy",
                        "sk-greedy",
                        (load - _MODEST) * most / _GREEDY_TOKENS,
                        _GREEDY_TOKENS,
                    ),
                )
                seconds = chosen.warm_up + chosen.seconds
                async with a_gateway(settings) as port:
                    calls = await offered(port, paces, seconds, chosen.patience)
                yield Run(name, load, most, chosen.warm_up, seconds, calls)


async def bench(chosen: argparse.Namespace) -> int:
    runs: list[Run] = []
    async for run in measured(chosen):
        runs.append(run)
        print(json.dumps(run.summary()), flush=True)
    if chosen.plot:
        await anyio.Path(chosen.plot).write_text(plotted(runs))
    return int(any(falls_short(run) for run in runs if run.name == "queue"))


def falls_short(run: Run) -> bool:
    return run.goodput < _LEAST_GOODPUT or run.served_ratio("modest") < _LEAST_SERVED


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.overload", description=__doc__)
    parser.add_argument("--loads", type=float, nargs="+", default=[1.0, 2.0, 5.0])
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=6, help="what an engine runs at once")
    parser.add_argument("--token-ms", type=float, default=50.0, help="between two tokens")
    parser.add_argument("--warm-up", type=float, default=20.0, help="seconds, not counted")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--capacity-seconds", type=float, default=12.0)
    parser.add_argument("--patience", type=float, default=8.0, help="seconds a client waits")
    parser.add_argument("--plot", type=Path, default=_PLOT, help="where the SVG goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    allow_open_files()
    sys.exit(anyio.run(bench, options(sys.argv[1:])))
