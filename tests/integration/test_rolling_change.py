"""Everything is replaced, engines and gateway, and no client sees more than its answer."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import openai
import pytest
from openai import AsyncOpenAI

from tests.support.child import Child, a_child, children_of, logged
from tests.support.ports import free_port
from tests.support.running import until
from tests.support.served import a_file, port_of

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc"),
]

STREAMS = 200
TOKENS = 12
# 200 streams of these make 570 chunks a second
INTER_TOKEN_MS = 350


class Engine:
    """A simulated vLLM in a process of its own, on a port that it keeps."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.serves = anyio.Event()
        self._is_to_end = anyio.Event()
        self._is_over = False

    async def run(self) -> None:
        """Start it, and again whenever it was ended."""
        pace = ("--inter-token-ms", str(INTER_TOKEN_MS), "--inter-token-ms-per-running", "0")
        arguments = ("simulate", "--model", "sim", "--port", str(self.port), *pace)
        while not self._is_over:
            async with a_child(*arguments) as child:
                await child.says("simulated vllm")
                self.serves.set()
                await self._is_to_end.wait()
                self._is_to_end = anyio.Event()
                child.signal(signal.SIGTERM)
                assert await child.ended() == 0

    async def restart(self) -> None:
        self.serves = anyio.Event()
        self._is_to_end.set()
        await self.serves.wait()

    def end(self) -> None:
        self._is_over = True
        self._is_to_end.set()


@dataclass
class Clients:
    """Calls that are made again and again, so many at a time."""

    client: AsyncOpenAI
    failures: list[str] = field(default_factory=list)
    texts: dict[int, set[str]] = field(default_factory=dict)
    answered: int = 0
    goes_on: bool = True

    async def call_on(self, number: int) -> None:
        # so that not all are at the same place of their answers
        await anyio.sleep(TOKENS * INTER_TOKEN_MS / 1000 * number / STREAMS)
        while self.goes_on:
            try:
                text = await self._one(number)
            except (openai.OpenAIError, AssertionError) as failure:
                self.failures.append(f"{failure!r}, from {failure.__cause__!r}")
            else:
                self.answered += 1
                self.texts.setdefault(number % 10, set()).add(text)

    async def _one(self, number: int) -> str:
        stream = await self.client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": f"Hello {number % 10}"}],
            max_tokens=TOKENS,
            temperature=0,
            stream=True,
        )
        text, finish = "", None
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
        assert finish == "length", finish
        return text

    async def so_many_more(self, count: int) -> None:
        """Wait until so many more calls have been answered."""
        wanted = self.answered + count
        await until(lambda: self.answered >= wanted or bool(self.failures), within_s=60)


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Clients]:
    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=60
    ) as client:
        clients = Clients(client)
        async with anyio.create_task_group() as tasks:
            for number in range(STREAMS):
                tasks.start_soon(clients.call_on, number)
            yield clients
            clients.goes_on = False


async def test_all_is_replaced_under_two_hundred_streams(tmp_path: Path) -> None:
    engines = [Engine() for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        for engine in engines:
            tasks.start_soon(engine.run)
        for engine in engines:
            await engine.serves.wait()
        file = a_file(tmp_path, *[engine.url for engine in engines])
        command = ("serve", "-c", str(file), "--host", "127.0.0.1", "--port", "0", "--workers", "2")
        async with a_child(*command) as gateway:
            await gateway.says("http://localhost:")
            before = await _two_workers(gateway)
            async with calling(f"http://127.0.0.1:{port_of(gateway)}") as clients:
                await clients.so_many_more(STREAMS)
                for engine in engines:
                    await engine.restart()
                    await clients.so_many_more(STREAMS)  # every stream is a new one
                gateway.signal(signal.SIGUSR2)
                await until(lambda: "workers_replaced" in gateway.said, within_s=120)
                await until(
                    lambda: before.isdisjoint(children_of(gateway.process.pid)), within_s=60
                )
                await clients.so_many_more(STREAMS)
            assert clients.failures == []
            assert {len(texts) for texts in clients.texts.values()} == {1}
            after = await _two_workers(gateway)
            gateway.signal(signal.SIGTERM)
            assert await gateway.ended() == 0
        for engine in engines:
            engine.end()
    assert before.isdisjoint(after)
    resumed = [line for line in gateway.out.splitlines() if b'"resumes":' in line]
    assert len(resumed) > STREAMS / 4
    assert not logged(gateway.said, "worker_ended")


async def _two_workers(gateway: Child) -> set[int]:
    await until(lambda: len(set(children_of(gateway.process.pid))) == 2, within_s=30)
    return set(children_of(gateway.process.pid))
