"""`gateway serve` in a process of its own, in front of one engine in the test's own loop."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.child import Child, a_child
from tests.support.leaks import PROMPT
from tests.support.running import FAST

PATH = "/v1/chat/completions"
SLOW = EngineOptions(models=("sim",), inter_token_s=0.05, inter_token_s_per_running=0.0)
LONG = 2000


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 6} | more


def a_file(folder: Path, *urls: str, name: str = "m", **more: Any) -> Path:
    """A configuration file for the model on these engines."""
    variant = {
        "engine": "vllm",
        "served_model": "sim",
        "replicas": [{"url": url} for url in urls or ("http://127.0.0.1:9",)],
    }
    file = folder / "gateway.yaml"
    fresh = folder / "gateway.yaml.new"
    fresh.write_text(json.dumps({"models": [{"name": name, "variants": [variant]}]} | more))
    fresh.rename(file)
    return file


def port_of(child: Child) -> int:
    """Where a gateway says that it listens."""
    found = re.search(r"http://localhost:(\d+)/v1 ", child.said)
    assert found, child.said
    return int(found[1])


class Served:
    """A gateway that serves from a process of its own; `login` goes with every call."""

    def __init__(
        self,
        child: Child,
        engine: SimulatedEngine,
        file: Path,
        login: Mapping[str, str] | None = None,
    ) -> None:
        self.login = login
        self.child = child
        self.engine = engine
        self.file = file
        self.port = port_of(child)
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The request log."""
        return [json.loads(line) for line in self.child.out.splitlines()]

    def write(self, **more: Any) -> None:
        a_file(self.file.parent, self.engine.url, **more)

    async def post(self, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.post(self.url + PATH, json=chat(**more), headers=self.login)

    async def answers(self) -> None:
        """Wait until it answers: the socket listens before the process serves."""
        async with httpx.AsyncClient(timeout=20) as client:
            assert (await client.get(self.url + "/health")).status_code == 200


@asynccontextmanager
async def served(
    folder: Path,
    *arguments: str,
    options: EngineOptions = FAST,
    environ: dict[str, str] | None = None,
    login: Mapping[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[Served]:
    """`gateway serve` of one model on one engine; the engine runs in the test's own loop."""
    async with serve_engine(options) as engine:
        file = a_file(folder, engine.url, **more)
        command = ["serve", "-c", str(file), "--host", "127.0.0.1", "--port", "0", *arguments]
        async with a_child(*command, environ=environ) as child:
            await child.says("http://localhost:")
            it = Served(child, engine, file, login)
            await it.answers()
            yield it


@asynccontextmanager
async def a_stream(it: Served, **more: Any) -> AsyncIterator[AsyncIterator[bytes]]:
    """A streamed call that has begun: what is still to come of it."""
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream(
            "POST", it.url + PATH, json=chat(stream=True, **more), headers=it.login
        ) as answer,
    ):
        assert answer.status_code == 200
        pieces = answer.aiter_bytes()
        await anext(pieces)
        yield pieces


async def the_rest(pieces: AsyncIterator[bytes]) -> bytes:
    with anyio.fail_after(15):
        return b"".join([piece async for piece in pieces])
