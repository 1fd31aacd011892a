"""Random faults for minutes: `python -m tests.chaos.soak --minutes 10 [--seed N]`.

Real gateway processes with limits in a real Redis, in front of simulated engines; faults of all
tables strike engines, clients, Redis and workers at the same time. Every call must end in a
complete answer or an honest error, and the gateway's memory and descriptors must stay flat. The
seed decides what is done, not when the machine gets to it.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.chaos.faulty_engine import FaultyEngine, a_faulty_engine
from tests.chaos.purse import SECRET
from tests.chaos.soak_load import Load
from tests.chaos.soak_strikes import Strikes
from tests.chaos.soak_watch import Watch
from tests.chaos.stage import PATH, body, read
from tests.support.child import Child, a_child
from tests.support.lossy_proxy import LossyProxy, a_lossy_proxy
from tests.support.ports import free_port
from tests.support.redis_servers import RedisServer, a_redis

_ENGINES = 3
_QUICK = EngineOptions(
    models=("sim",), inter_token_s=0.0, inter_token_s_per_running=0.0, prefill_s_per_token=0.0
)
_CALLERS = 8
_AFTERWARDS_S = 30.0
_RATES = {"tokens_per_minute": 100_000_000, "concurrent_requests": 1000}


def document(engines: list[FaultyEngine], proxy: LossyProxy) -> dict[str, Any]:
    """The configuration: short waits, so that there are many faults in little time."""
    replicas = [{"url": engine.url} for engine in engines]
    variant = {"engine": "vllm", "served_model": "sim", "replicas": replicas}
    timeouts = {"connect_s": 1, "first_byte_s": 2, "idle_s": 1, "total_s": 10}
    url = {"value": f"redis://127.0.0.1:{proxy.port}"}
    return {
        "models": [{"name": "m", "variants": [variant], "timeouts": timeouts}],
        "plans": [{"name": "default", **_RATES}],
        "keys": [{"name": "team", "secret": {"value": SECRET}}],
        "limits": {"store": "redis", "redis_url": url, "store_timeout_s": 0.3},
        "retries": {"after_timeout": True, "budget_ratio": 1, "backoff_s": 0.01},
        "health": {"ejection_s": 1, "max_ejection_s": 2},
        "server": {"max_event_bytes": 50_000, "write_stall_s": 2, "body_read_s": 2},
    }


@asynccontextmanager
async def a_world(
    folder: Path, redis: RedisServer
) -> AsyncIterator[tuple[Child, int, list[FaultyEngine], LossyProxy]]:
    """Everything that runs: the gateway, its port, the engines, and the way to Redis."""
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(
                a_faulty_engine(
                    await stack.enter_async_context(serve_engine(_QUICK)), patience_s=86_400
                )
            )
            for _ in range(_ENGINES)
        ]
        proxy = await stack.enter_async_context(a_lossy_proxy(redis.port))
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(document(engines, proxy)))
        port = free_port()
        child = await stack.enter_async_context(
            a_child(
                "serve",
                "-c",
                str(file),
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "2",
            )
        )
        await child.says("/v1 ")
        yield child, port, engines, proxy


async def soak(seconds: float, seed: int) -> list[str]:
    """What was wrong; empty when all was well."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, a_redis() as redis, redis.client() as client:
        client.ping()
        async with a_world(Path(folder), redis) as (child, port, engines, proxy):
            wanted = await said_undisturbed(engines[0])
            watch = Watch(child.process.pid)
            load = Load(port, wanted, engines, rng)
            strikes = Strikes(child.process.pid, redis, proxy, client, load, rng)
            async with anyio.create_task_group() as tasks:
                for _ in range(_CALLERS):
                    tasks.start_soon(load.call_for_ever)
                tasks.start_soon(load.disturb_for_ever)
                tasks.start_soon(strikes.for_ever)
                tasks.start_soon(watch.for_ever)
                tasks.start_soon(report_for_ever, load, strikes, watch)
                await anyio.sleep(seconds)
                load.is_over = strikes.is_over = True
                with anyio.move_on_after(_AFTERWARDS_S) as patience:
                    await load.has_ended()
                if patience.cancelled_caught:
                    load.wrong(f"{load.open_calls} calls never ended")
                tasks.cancel_scope.cancel()
            await nothing_is_left(port, load)
            child.signal(signal.SIGTERM)
            if await child.ended(60) != 0:
                load.wrong("the gateway did not end well")
        show(load, strikes, watch)
        return [*load.mistakes, *watch.mistakes()]


async def said_undisturbed(engine: FaultyEngine) -> str:
    async with httpx.AsyncClient(timeout=20) as http:
        url = engine.engine.url + PATH
        answer = await http.post(url, json=body(stream=False, model="sim"))
    return read(answer.status_code, answer.content).text


async def nothing_is_left(port: int, load: Load) -> None:
    """When all calls have ended, no lease and no settlement is left."""
    gauges = ("gateway_requests_in_flight", "gateway_limit_settlements_pending")
    left: dict[str, float] = {}
    async with httpx.AsyncClient(timeout=20) as http:
        for _ in range(100):
            lines = (await http.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines()
            found = [line.rsplit(" ", 1) for line in lines if line.startswith(gauges)]
            left = {name: float(value) for name, value in found if float(value)}
            if not left:
                return
            await anyio.sleep(0.2)
    load.wrong(f"left behind: {left}")


async def report_for_ever(load: Load, strikes: Strikes, watch: Watch) -> None:
    while True:
        await anyio.sleep(30)
        show(load, strikes, watch)


def show(load: Load, strikes: Strikes, watch: Watch) -> None:
    print(f"{dict(load.ends)}; {dict(strikes.done)}; {watch}", flush=True)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = arguments.parse_args()
    print(f"{given.minutes:g} minutes; --seed {given.seed}", flush=True)
    mistakes = anyio.run(soak, given.minutes * 60, given.seed)
    for mistake in mistakes:
        print(f"WRONG: {mistake}", file=sys.stderr)
    print("wrong" if mistakes else "every call ended as it must; memory and descriptors are flat")
    return bool(mistakes)


if __name__ == "__main__":
    sys.exit(main())
