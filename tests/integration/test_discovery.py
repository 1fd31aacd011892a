"""Replicas that come and go: simulated engines behind a fake API server, or a real DNS question."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.dns_server import dns_server
from tests.support.kubernetes_api import NAMESPACE, KubernetesApi, a_pod, a_slice, kubernetes_api
from tests.support.ports import free_port
from tests.support.running import FAST, Running, running, until

pytestmark = pytest.mark.timeout(120)
CHAT = "/v1/chat/completions"
SLOW = EngineOptions(models=("sim",), inter_token_s=0.03, inter_token_s_per_running=0.0)
PATIENCE_S = 30.0


def chat(**more: Any) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    return {"model": "m"} | asked | more


@dataclass
class Cluster:
    """A service whose pods are engines at 127.0.0.2, 127.0.0.3, … and the gateway before it."""

    api: KubernetesApi
    it: Running
    client: httpx.AsyncClient
    stack: AsyncExitStack
    port: int
    _conditions: dict[str, dict[str, bool]] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)

    async def start(self, name: str, options: EngineOptions = FAST) -> SimulatedEngine:
        """A new pod, which serves."""
        engine = await self.boot(name, options)
        self.say(name)
        await self.until_usable(name)
        return engine

    async def boot(self, name: str, options: EngineOptions = FAST) -> SimulatedEngine:
        """A pod that nobody knows of yet."""
        address = f"127.0.0.{len(self._addresses) + 2}"
        engine = await self.stack.enter_async_context(
            serve_engine(options, host=address, port=self.port)
        )
        self._addresses[name] = address
        return engine

    def say(self, name: str, **conditions: bool) -> None:
        """Change what the API server says of a pod."""
        self._conditions[name] = conditions
        self._tell()

    def end(self, name: str) -> None:
        """A pod is not there any more."""
        del self._conditions[name]
        self._tell()

    def _tell(self) -> None:
        pods = [
            a_pod(name, self._addresses[name], **conditions)
            for name, conditions in self._conditions.items()
        ]
        self.api.put(a_slice("vllm-1", *pods, port=self.port))

    @property
    def shown(self) -> dict[str, tuple[str, bool, int]]:
        """The fleet: condition, usable, in flight."""
        fleet = self.it.gateway.inference.exchange.fleet
        return {
            state.name: (state.condition.value, state.is_usable, state.in_flight) for state in fleet
        }

    async def until_usable(self, name: str) -> None:
        await until(lambda: name in self.shown and self.shown[name][1], PATIENCE_S)

    async def ask(self) -> httpx.Response:
        return await self.client.post(self.it.url + CHAT, json=chat())


@asynccontextmanager
async def cluster(**more: Any) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(kubernetes_api())
        port = free_port()
        api.put(a_slice("vllm-1", port=port))
        where = {"service": "vllm", "namespace": NAMESPACE, "api_server": api.url}
        model = {
            "name": "m",
            "engine": "vllm",
            "served_model": "sim",
            "discovery": {"kubernetes": where},
        }
        it = await stack.enter_async_context(running({"models": [model], **more}))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_S))
        yield Cluster(api, it, client, stack, port)


async def test_a_pod_that_is_added_serves_and_no_address_reaches_a_client() -> None:
    async with cluster() as here:
        nobody = await here.ask()
        assert nobody.status_code == 503
        await here.start("vllm-0")
        answer = await here.ask()
        assert answer.status_code == 200
        ready = (await here.client.get(here.it.url + "/ready")).json()
        assert ready["discovery"][0]["state"] == "ok"
        assert ready["discovery"][0]["endpoints"] == {"serving": 1}
        for told in (nobody, answer):
            assert "127.0.0." not in told.text + str(told.headers)
        await here.it.settled()
        assert [line["replica"] for line in here.it.log.requests if line["status"] == 200] == [
            "vllm-0"
        ]


async def test_a_pod_that_terminates_keeps_its_stream_and_gets_nothing_new() -> None:
    async with cluster() as here:
        old = await here.start("old", SLOW)
        body = chat(stream=True, max_tokens=60)
        async with here.client.stream("POST", here.it.url + CHAT, json=body) as answer:
            pieces = answer.aiter_bytes()
            whole = await anext(pieces)
            new = await here.start("new")
            here.say("old", ready=False, terminating=True)
            await until(lambda: here.shown["old"] == ("draining", False, 1), PATIENCE_S)
            for _ in range(6):
                assert (await here.ask()).status_code == 200
            whole += b"".join([piece async for piece in pieces])
        await here.it.settled()
        assert whole.endswith(b"data: [DONE]\n\n")
        assert [seen.outcome for seen in old.requests if seen.path == CHAT] == ["answered"]
        assert len([seen for seen in new.requests if seen.path == CHAT]) == 6
        here.end("old")
        await until(lambda: list(here.shown) == ["new"], PATIENCE_S)


async def test_a_pod_that_is_gone_before_its_stream_has_ended_is_shown_until_then() -> None:
    async with cluster() as here:
        await here.start("a", SLOW)
        body = chat(stream=True, max_tokens=60)
        async with here.client.stream("POST", here.it.url + CHAT, json=body) as answer:
            pieces = answer.aiter_bytes()
            whole = await anext(pieces)
            here.end("a")
            await until(lambda: here.shown.get("a") == ("draining", False, 1), PATIENCE_S)
            assert (await here.ask()).status_code == 503
            whole += b"".join([piece async for piece in pieces])
        assert whole.endswith(b"data: [DONE]\n\n")
        await until(lambda: not here.shown, PATIENCE_S)


async def test_a_terminating_pod_that_breaks_off_is_resumed_elsewhere() -> None:
    async with cluster() as here:
        old = await here.start("old", SLOW)
        await here.start("new")
        here.say("new", ready=False)
        await until(lambda: not here.shown["new"][1], PATIENCE_S)
        old.inject("reset-after=20")
        body = chat(stream=True, max_tokens=60)
        async with here.client.stream("POST", here.it.url + CHAT, json=body) as answer:
            pieces = answer.aiter_bytes()
            whole = await anext(pieces)
            here.say("new")
            here.say("old", terminating=True)
            await until(lambda: here.shown["old"][0] == "draining", PATIENCE_S)
            whole += b"".join([piece async for piece in pieces])
        assert whole.endswith(b"data: [DONE]\n\n")
        await here.it.settled()
        (line,) = here.it.log.requests
        assert (line["outcome"], line["replica"]) == ("ok", "new")


async def test_a_pod_that_is_not_ready_gets_nothing_until_it_is() -> None:
    async with cluster() as here:
        await here.start("a")
        here.say("a", ready=False)
        await until(lambda: here.shown["a"][:2] == ("unhealthy", False), PATIENCE_S)
        assert (await here.ask()).status_code == 503
        here.say("a")
        await here.until_usable("a")
        assert (await here.ask()).status_code == 200


async def test_an_api_server_that_dies_changes_nothing() -> None:
    async with cluster() as here:
        await here.start("a")
        here.api.is_down = True
        here.api.cut()
        fails = 'gateway_discovery_failures_total{model="m",variant="m"}'
        with anyio.fail_after(PATIENCE_S):
            while fails not in (await here.client.get(here.it.url + "/metrics")).text:
                assert (await here.ask()).status_code == 200
        ready = (await here.client.get(here.it.url + "/ready")).json()
        assert ready["ready"] is True
        assert ready["discovery"][0]["state"] == "failing"
        assert "127.0.0.1" not in str(ready)
        here.api.is_down = False
        await here.start("b")
        assert set(here.shown) == {"a", "b"}


async def test_calls_go_on_while_every_pod_is_replaced() -> None:
    async with cluster() as here:
        await here.start("p0")
        for number in range(1, 5):
            await here.boot(f"p{number}")
        answers: list[int] = []
        stop = anyio.Event()

        async def ask() -> None:
            while not stop.is_set():
                answers.append((await here.ask()).status_code)

        async with anyio.create_task_group() as calls:
            for _ in range(3):
                calls.start_soon(ask)
            for number in range(1, 5):
                here.say(f"p{number}")
                await here.until_usable(f"p{number}")
                here.say(f"p{number - 1}", ready=False, terminating=True)
                here.end(f"p{number - 1}")
            stop.set()
        assert set(answers) == {200}
        await until(lambda: list(here.shown) == ["p4"], PATIENCE_S)


async def test_a_reload_keeps_what_was_found(tmp_path: Path) -> None:
    async with cluster() as here:
        await here.start("a")
        fleet = here.it.gateway.inference.exchange.fleet
        before = list(fleet)
        fleet.apply(fleet.catalog)
        assert list(fleet) == before
        assert (await here.ask()).status_code == 200


async def test_every_address_of_a_name_serves() -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(dns_server())
        port = free_port()
        engines = [
            await stack.enter_async_context(serve_engine(FAST, host=host, port=port))
            for host in ("127.0.0.2", "127.0.0.3")
        ]
        server.addresses["vllm.test"] = {"A": ["127.0.0.2", "127.0.0.3"]}
        where = {"dns": "vllm.test", "port": port, "nameservers": [server.nameserver]}
        model = {"name": "m", "engine": "vllm", "served_model": "sim", "discovery": where}
        it = await stack.enter_async_context(running({"models": [model]}, engines))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_S))
        for _ in range(4):
            assert (await client.post(it.url + CHAT, json=chat())).status_code == 200
        served = [sum(seen.path == CHAT for seen in engine.requests) for engine in engines]
        assert served == [2, 2]
        # the resolver fails: serving goes on
        server.failing = True
        assert (await client.post(it.url + CHAT, json=chat())).status_code == 200
