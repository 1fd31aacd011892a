"""A whole gateway with simulated engines on real sockets, in the test's own event loop."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from gateway.app import Gateway, build
from gateway.cli.serve import listen, server_for
from gateway.cli.server import DrainingServer
from gateway.config.document import Document
from gateway.config.settings import load_settings
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.leaks import LEDGER

FAST = EngineOptions(
    models=("sim",), inter_token_s=0.002, inter_token_s_per_running=0.0, prefill_s_per_token=0.0
)


class Lines:
    """Keeps the request log."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, line: bytearray, /) -> int:
        self.text += line
        LEDGER.hear(line)
        return len(line)

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


async def until(is_so: Callable[[], bool], within_s: float) -> None:
    """Wait for what only other tasks can bring about; TimeoutError when it does not come."""
    with anyio.fail_after(within_s):
        while not is_so():  # noqa: ASYNC110  # nothing announces what is waited for
            await anyio.sleep(0.005)


@dataclass(slots=True)
class Running:
    """A gateway that serves at `url`, and what is behind it."""

    url: str
    port: int
    gateway: Gateway
    server: DrainingServer
    engines: Sequence[SimulatedEngine]
    log: Lines

    @property
    def engine(self) -> SimulatedEngine:
        return self.engines[0]

    @property
    def in_flight(self) -> int:
        """Leases that are held now."""
        return sum(state.in_flight for state in self.gateway.inference.exchange.fleet)

    async def settled(self, within_s: float = 10.0) -> None:
        """Wait until nothing is open any more: no call, no lease."""
        await until(lambda: not self.gateway.books.open_calls and not self.in_flight, within_s)
        # the lines of calls that end together are written in the next turn of the loop
        await anyio.lowlevel.checkpoint()

    async def settled_calls(self, within_s: float) -> None:
        """Wait until a call has come and gone."""
        await until(lambda: bool(self.log.requests), within_s)


@asynccontextmanager
async def running(
    document: dict[str, Any],
    engines: Sequence[SimulatedEngine] = (),
    *,
    direct: bool = True,
    environ: dict[str, str] | None = None,
    config_path: Path | None = None,
) -> AsyncIterator[Running]:
    """Serve a configuration until left. `config_path`: the file to follow."""
    log = Lines()
    environ = environ or {}
    gateway = build(
        Document.model_validate(document),
        load_settings(environ),
        environ=environ,
        config_path=config_path,
        request_log=log,
    )
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = server_for(gateway, direct=direct)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            await until(lambda: server.started, within_s=10)
            try:
                yield Running(f"http://127.0.0.1:{port}", port, gateway, server, engines, log)
            finally:
                server.should_exit = True
    finally:
        listener.close()


@asynccontextmanager
async def a_gateway(
    *options: EngineOptions,
    direct: bool = True,
    environ: dict[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[Running]:
    """A gateway whose model `m` has one variant on these simulated engines (one fast vLLM)."""
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(serve_engine(one)) for one in (options or (FAST,))
        ]
        first = engines[0].options
        model = {
            "name": "m",
            "variants": [
                {
                    "engine": first.engine,
                    "served_model": first.models[0],
                    "replicas": [{"url": engine.url} for engine in engines],
                }
            ],
        }
        model |= more.pop("model", {})
        document = {"models": [model], **more}
        yield await stack.enter_async_context(
            running(document, engines, direct=direct, environ=environ)
        )
