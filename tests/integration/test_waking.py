"""Calls for engines that are away, over real sockets: held, and answered once they are back."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.serve import serve_engine
from tests.support.child import a_child
from tests.support.ports import free_port
from tests.support.running import FAST, Running, running, until
from tests.support.served import a_file, port_of

PATH = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
ENOUGH_S = 30.0
pytestmark = pytest.mark.timeout(90)


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": HELLO, "max_tokens": 4} | more


@dataclass
class Site:
    """A gateway, and where its model's engine will be."""

    it: Running
    port: int
    done: list[tuple[str, httpx.Response]] = field(default_factory=list)

    def engine(self) -> AbstractAsyncContextManager[SimulatedEngine]:
        """Its engine, while it is there."""
        return serve_engine(FAST, port=self.port)

    async def answered(self, count: int) -> None:
        await until(lambda: len(self.done) == count, within_s=ENOUGH_S)

    async def send(
        self, name: str = "", headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(self.it.url + PATH, json=chat(**more), headers=headers)
        self.done.append((name, answer))

    async def waiting(self, count: int, variant: str = "m") -> None:
        queues = self.it.gateway.inference.exchange.queues
        await until(lambda: queues.waiting(variant) == count, within_s=ENOUGH_S)

    @property
    def statuses(self) -> list[int]:
        return [answer.status_code for _, answer in self.done]

    async def metric(self, name: str) -> list[float]:
        async with httpx.AsyncClient() as client:
            text = (await client.get(self.it.url + "/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(name + "{")]
        return [float(line.rpartition(" ")[2]) for line in lines]


@asynccontextmanager
async def away(
    *,
    direct: bool = True,
    variants: tuple[dict[str, Any], ...] = (),
    model: dict[str, Any] | None = None,
    concurrency: Any = "auto",
    heartbeat_s: float = 15.0,
    **wake: Any,
) -> AsyncIterator[Site]:
    """A gateway whose model has no engine yet."""
    port = free_port()
    variant: dict[str, Any] = {
        "engine": "vllm",
        "served_model": "sim",
        "concurrency": concurrency,
        "replicas": [{"url": f"http://127.0.0.1:{port}"}],
        "wake": wake,
    }
    document = {
        "models": [{"name": "m", "variants": [variant, *variants], **(model or {})}],
        "server": {"heartbeat_s": heartbeat_s},
    }
    async with running(document, direct=direct) as it:
        yield Site(it, port)
        await it.settled()


async def test_calls_are_held_and_answered_in_order_when_the_engine_is_there(direct: bool) -> None:
    async with away(direct=direct, concurrency=1) as site:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                stream = number % 2 == 0
                tasks.start_soon(partial(site.send, f"{number}", stream=stream))
                await site.waiting(number + 1)
            assert await site.metric("gateway_wake_demand") == [20.0]
            async with site.engine():
                await site.answered(20)
        assert site.statuses == [200] * 20
        assert [name for name, _ in site.done] == [f"{number}" for number in range(20)]
        assert all("[DONE]" in answer.text for _, answer in site.done[::2])
    lines = site.it.log.requests
    assert all(line["attempts"] == 1 and line["queue_ms"] > 0 for line in lines)


async def test_an_sdk_stream_is_kept_alive_while_it_is_held(direct: bool) -> None:
    async with away(direct=direct, heartbeat_s=0.05) as site:
        chunks: list[Any] = []

        async def ask() -> None:
            # each read may take a second: without heartbeats the client would give up
            client = openai.AsyncOpenAI(
                base_url=site.it.url + "/v1", api_key="none", timeout=1.0, max_retries=0
            )
            async with client:
                stream = await client.chat.completions.create(
                    model="m", messages=HELLO, stream=True, max_tokens=4
                )
                chunks.extend([chunk async for chunk in stream])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await site.waiting(1)
            await anyio.sleep(1.5)
            async with site.engine():
                await until(lambda: bool(chunks), within_s=ENOUGH_S)
        assert chunks[-1].choices[0].finish_reason is not None
        assert site.it.log.requests[0]["outcome"] == "ok"


async def test_the_bound_is_told_at_once(direct: bool) -> None:
    async with away(direct=direct, max_waiting=1) as site:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(site.send)
            await site.waiting(1)
            await site.send()
            (refused,) = [answer for _, answer in site.done]
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "model_waking"
            assert refused.headers["retry-after"] == "10"
            async with site.engine():
                await site.answered(2)
        assert site.statuses == [503, 200]


async def test_an_engine_that_does_not_come_is_told_as_a_status_or_as_an_event(
    direct: bool,
) -> None:
    async with away(direct=direct, max_wait_s=0.6, heartbeat_s=0.05) as site:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(site.send, "whole")
            tasks.start_soon(partial(site.send, "stream", stream=True))
        answers = dict(site.done)
        assert answers["whole"].status_code == 503
        assert "not ready in time" in answers["whole"].json()["error"]["message"]
        stream = answers["stream"]
        assert stream.status_code == 200
        beat, *_, event, _ = stream.text.split("\n\n")
        assert beat == ": ping"
        assert json.loads(event.removeprefix("data: "))["error"]["code"] == "model_waking"
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["x-request-id"]


async def test_the_clients_own_deadline_wins() -> None:
    async with away() as site:
        await site.send(headers={"x-request-timeout-ms": "300"})
        (status,) = site.statuses
        assert status in (503, 504)
        # it is remembered for whoever starts engines
        assert await site.metric("gateway_wake_demand") == [1.0]


async def test_a_client_that_leaves_while_it_is_held_leaves_nothing(direct: bool) -> None:
    async with away(direct=direct, heartbeat_s=0.05) as site:
        for stream in (False, True):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(site.send, stream=stream))
                await site.waiting(1)
                tasks.cancel_scope.cancel()
            await site.waiting(0)
        await site.it.settled()
        async with site.engine() as engine:
            await site.send()
        assert site.statuses == [200]
        assert len([one for one in engine.requests if one.path == PATH]) == 1
    assert [line["outcome"] for line in site.it.log.requests] == ["client_gone"] * 2 + ["ok"]


async def test_calls_go_to_who_is_there_and_wake_the_one_that_is_not() -> None:
    async with serve_engine(FAST) as other:
        warm = {
            "quantization": "warm",
            "engine": "vllm",
            "served_model": "sim",
            "replicas": [{"url": other.url}],
        }
        async with away(variants=(warm,)) as site:
            assert await site.metric("gateway_wake_demand") == [0.0]
            await site.send()
            assert site.statuses == [200]
            assert await site.metric("gateway_wake_demand") == [1.0]
            async with site.engine():
                (first, _) = site.it.gateway.inference.exchange.fleet
                await until(lambda: first.is_usable, within_s=ENOUGH_S)
                await site.send()
    assert [line["variant"] for line in site.it.log.requests] == ["m:warm", "m"]


async def test_an_engine_that_has_just_gone_is_waited_for_and_not_failed() -> None:
    async with away() as site:
        async with site.engine():
            (state,) = site.it.gateway.inference.exchange.fleet
            await until(lambda: state.is_usable, within_s=ENOUGH_S)
        async with anyio.create_task_group() as tasks:
            for stream in (False, True):
                tasks.start_soon(partial(site.send, stream=stream))
            await site.waiting(2)
            assert state.condition == "away"
            async with site.engine():
                await site.answered(2)
        assert site.statuses == [200, 200]


async def test_an_engine_that_dies_while_it_wakes_is_waited_for_again() -> None:
    async with away(concurrency=1) as site:
        (state,) = site.it.gateway.inference.exchange.fleet
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(site.send)
            await site.waiting(3)
            async with site.engine() as engine:
                engine.is_loading = True  # it answers probes, and is not ready
                await until(lambda: state.health.probed == "unhealthy", within_s=ENOUGH_S)
                assert not site.done
            await until(lambda: state.condition == "away", within_s=ENOUGH_S)
            async with site.engine():
                await site.answered(3)
        assert site.statuses == [200] * 3


async def test_an_absent_engine_is_shown_as_such_and_not_as_a_failure() -> None:
    async with away() as site, httpx.AsyncClient() as client:
        ready = (await client.get(site.it.url + "/ready")).json()
        assert ready["models"] == {"m": "away, a call wakes it"}
        (state,) = site.it.gateway.inference.exchange.fleet
        assert (state.condition, state.reason) == ("away", "engine_away")


async def test_two_gateways_hold_their_own_calls() -> None:
    port = free_port()
    variant = {
        "engine": "vllm",
        "served_model": "sim",
        "replicas": [{"url": f"http://127.0.0.1:{port}"}],
        "wake": {},
    }
    document = {"models": [{"name": "m", "variants": [variant]}]}
    async with running(document) as first, running(document) as second:
        sites = [Site(it, port) for it in (first, second)]
        async with anyio.create_task_group() as tasks:
            for site in sites:
                tasks.start_soon(site.send)
                tasks.start_soon(partial(site.send, stream=True))
                await site.waiting(2)
            async with sites[0].engine() as engine:
                for site in sites:
                    await site.answered(2)
        assert [site.statuses for site in sites] == [[200, 200]] * 2
        assert len([one for one in engine.requests if one.path == PATH]) == 4


async def test_a_held_call_is_told_when_its_gateway_shuts_down(tmp_path: Path) -> None:
    variant = {
        "engine": "vllm",
        "served_model": "sim",
        "replicas": [{"url": f"http://127.0.0.1:{free_port()}"}],
        "wake": {},
    }
    file = a_file(
        tmp_path, models=[{"name": "m", "variants": [variant]}], server={"drain_grace_s": 1}
    )
    command = ["serve", "-c", str(file), "--host", "127.0.0.1", "--port", "0"]
    async with a_child(*command) as child:
        await child.says("http://localhost:")
        url = f"http://127.0.0.1:{port_of(child)}"
        answers: list[httpx.Response] = []

        async def ask() -> None:
            async with httpx.AsyncClient(timeout=60) as client:
                answers.append(await client.post(url + PATH, json=chat()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            async with httpx.AsyncClient(timeout=60) as client:
                with anyio.fail_after(ENOUGH_S):
                    while (  # noqa: ASYNC110  # only a scrape tells
                        'gateway_queue_waiting{model="m",variant="m"} 1'
                        not in (await client.get(url + "/metrics")).text
                    ):
                        await anyio.sleep(0.05)
            child.signal(signal.SIGTERM)
        (answer,) = answers
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "gateway_draining"
