"""Run simulated engines: any number of them in one event loop."""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio

from gateway.clock import Clock, SystemClock
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.llamacpp import LlamaCppFace
from gateway.simulator.openai import OpenAiFace
from gateway.simulator.options import EngineOptions
from gateway.simulator.server import listening
from gateway.simulator.tgi import TgiFace
from gateway.simulator.vllm import VllmFace

FACES: Mapping[str, type[OpenAiFace]] = {
    "vllm": VllmFace,
    "tgi": TgiFace,
    "llamacpp": LlamaCppFace,
    "openai": OpenAiFace,
}


@asynccontextmanager
async def serve_engine(
    options: EngineOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[SimulatedEngine]:
    """Run an engine until left. `port` 0 takes a free one."""
    options = options or EngineOptions()
    engine = SimulatedEngine(options, clock or SystemClock(), rng or random.Random(options.seed))
    face = FACES[options.engine](engine)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        async with listening(face.handle, host, port, keep_alive_s=options.keep_alive_s) as (
            bound,
            _,
        ):
            engine.url = f"http://{host}:{bound}"
            yield engine
        tasks.cancel_scope.cancel()
