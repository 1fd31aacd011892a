"""More calls than the engines may have at once, over real sockets."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from gateway.wire.ask import Operation, read_ask
from gateway.wire.prefix import prefix_of
from tests.support.counted import counted
from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, running, until

PATH = "/v1/chat/completions"
SLOW = EngineOptions(models=("sim",), inter_token_s=0.03, inter_token_s_per_running=0.0)
KEYS: dict[str, Any] = {
    "plans": [{"name": "default"}, {"name": "night", "priority": "batch"}],
    "keys": [
        {"name": "greedy", "secret": {"value": "sk-greedy"}},
        {"name": "modest", "secret": {"value": "sk-modest"}},
        {"name": "night", "plan": "night", "secret": {"value": "sk-night"}},
    ],
}
LONG = 2000


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4} | more


def a_document(*urls: str, concurrency: Any = 1, **model: Any) -> dict[str, Any]:
    variant = {
        "engine": "vllm",
        "served_model": "sim",
        "concurrency": concurrency,
        "replicas": [{"url": url} for url in urls],
    }
    return {"models": [{"name": "m", "variants": [variant], **model}]}


def write(file: Path, document: object) -> None:
    file.write_text(json.dumps(document))


@asynccontextmanager
async def narrow(
    *options: EngineOptions,
    direct: bool = True,
    concurrency: Any = 1,
    model: dict[str, Any] | None = None,
    file: Path | None = None,
    environ: dict[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[Running]:
    """A gateway whose engines (one that is slow) have one place each."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(serve_engine(one)) for one in options or [SLOW]]
        urls = [engine.url for engine in engines]
        document = a_document(*urls, concurrency=concurrency, **model or {}) | more
        if file is not None:
            write(file, document)
        yield await stack.enter_async_context(
            running(document, engines, direct=direct, config_path=file, environ=environ)
        )


class Calls:
    """Sends calls beside each other and keeps what came back, in the order in which it came."""

    def __init__(self, it: Running, client: httpx.AsyncClient) -> None:
        self.it = it
        self.client = client
        self.done: list[tuple[str, httpx.Response]] = []

    async def send(self, key: str = "", headers: dict[str, str] | None = None, **more: Any) -> None:
        named = {"authorization": f"Bearer sk-{key}"} if key else {}
        answer = await self.client.post(
            self.it.url + PATH, json=chat(**more), headers=named | (headers or {})
        )
        self.done.append((key, answer))

    @property
    def order(self) -> list[str]:
        return [key for key, _ in self.done]

    @property
    def statuses(self) -> list[int]:
        return [answer.status_code for _, answer in self.done]

    async def waiting(self, count: int) -> None:
        queues = self.it.gateway.inference.exchange.queues
        await until(lambda: queues.waiting("m") == count, within_s=10)


@asynccontextmanager
async def calls_to(it: Running) -> AsyncIterator[Calls]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield Calls(it, client)
    await it.settled()


async def test_what_a_call_begins_with_is_known_where_it_went_after_it_had_waited() -> None:
    long = [{"role": "user", "content": "a long story " * 500}]
    sent = httpx.Request("POST", "http://gateway", json=chat(messages=long)).content
    prompt = prefix_of(read_ask(sent, Operation.CHAT))
    async with (
        narrow(model={"policy": "prefix-affinity"}) as it,
        calls_to(it) as calls,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(calls.send)
        await until(lambda: it.in_flight == 1, within_s=10)
        tasks.start_soon(partial(calls.send, messages=long))
        await calls.waiting(1)
        (state,) = it.gateway.inference.exchange.fleet
        assert state.known_blocks(prompt.blocks) == 0
    assert calls.statuses == [200] * 2
    assert state.known_blocks(prompt.blocks) == len(prompt.blocks) > 1
    assert state.prefilling == 0


async def test_no_engine_gets_more_than_it_is_to_have(direct: bool) -> None:
    seen = 0
    async with (
        narrow(SLOW, SLOW, direct=direct) as it,
        calls_to(it) as calls,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(6):
            tasks.start_soon(calls.send)
        while len(calls.done) < 6:
            seen = max(seen, *(len(engine.scheduler.running) for engine in it.engines))
            await anyio.sleep(0.005)
    assert calls.statuses == [200] * 6
    assert seen == 1
    waited = [line["queue_ms"] for line in it.log.requests if "queue_ms" in line]
    assert len(waited) == 4
    assert all(line["attempts"] == 1 for line in it.log.requests)


async def test_a_greedy_caller_does_not_keep_a_modest_one_waiting() -> None:
    async with narrow(**KEYS) as it, calls_to(it) as calls, anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(calls.send, "greedy")
            await calls.waiting(number)
        tasks.start_soon(calls.send, "modest")
        await until(lambda: len(calls.done) == 7, within_s=10)
        assert calls.order.index("modest") <= 2


async def test_interactive_calls_go_before_batch() -> None:
    async with narrow(**KEYS) as it, calls_to(it) as calls, anyio.create_task_group() as tasks:
        tasks.start_soon(calls.send, "greedy")
        await until(lambda: it.in_flight == 1, within_s=5)
        for number in range(3):
            tasks.start_soon(calls.send, "night")
            await calls.waiting(number + 1)
        tasks.start_soon(calls.send, "modest")
        await until(lambda: len(calls.done) == 5, within_s=10)
        assert calls.order[:2] == ["greedy", "modest"]


async def test_a_client_that_leaves_gives_up_its_place_in_line(direct: bool) -> None:
    async with narrow(direct=direct) as it, calls_to(it) as calls:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_quietly, calls, 40)
            await until(lambda: it.in_flight == 1, within_s=5)
            with anyio.move_on_after(0.2):
                async with httpx.AsyncClient() as leaving:
                    await leaving.post(it.url + PATH, json=chat())
            await calls.waiting(0)
        assert len(it.engine.requests) == 1
    outcomes = sorted(line["outcome"] for line in it.log.requests)
    assert outcomes == ["client_gone", "ok"]


async def test_a_full_line_refuses_at_once_and_says_when(direct: bool) -> None:
    async with narrow(direct=direct, model={"queue": {"max_waiting": 1}}) as it:
        async with calls_to(it) as calls, anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(calls.send)
                await until(lambda: it.in_flight == 1, within_s=5)
                await calls.waiting(number)
            await calls.send()
            assert calls.statuses == [503]
        refused = calls.done[0][1]
        assert refused.json()["error"]["code"] == "server_overloaded"
        assert int(refused.headers["retry-after-ms"]) >= 500
        assert int(refused.headers["retry-after"]) >= 1
        assert calls.statuses == [503, 200, 200]
        metrics = it.gateway.books._metrics
        assert counted(metrics, "gateway_queue_refusals", "reason") == {"full": 1}
        line = next(one for one in it.log.requests if one["status"] == 503)
        assert (line["error_source"], line["attempts"]) == ("gateway", 0)


async def test_the_openai_sdk_waits_and_tries_again() -> None:
    """Its own retry, after what `retry-after-ms` says, finds the place that came free."""
    async with narrow(model={"queue": {"max_waiting": 0}}) as it, calls_to(it) as calls:
        sdk = openai.AsyncOpenAI(base_url=it.url + "/v1", api_key="x", max_retries=5)
        async with sdk, anyio.create_task_group() as tasks:
            tasks.start_soon(calls.send)
            await until(lambda: it.in_flight == 1, within_s=5)
            answer = await sdk.chat.completions.create(**chat())
    assert answer.choices[0].message.content


async def test_the_longest_wait_ends_in_a_refusal() -> None:
    async with narrow(model={"queue": {"max_wait_s": 0.1}}) as it:
        async with calls_to(it) as calls, anyio.create_task_group() as tasks:
            tasks.start_soon(_quietly, calls, 40)
            await until(lambda: it.in_flight == 1, within_s=5)
            await calls.send()
        assert calls.statuses == [503, 200]
        metrics = it.gateway.books._metrics
        assert counted(metrics, "gateway_queue_refusals", "reason") == {"over": 1}


async def test_a_deadline_that_cannot_be_kept_is_refused_before_it_ends() -> None:
    async with narrow() as it, calls_to(it) as calls:
        await calls.send(max_tokens=20)  # so answers take 0.6 s
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_quietly, calls, 100)
            await until(lambda: it.in_flight == 1, within_s=5)
            await calls.send(headers={"x-request-timeout-ms": "600"})
            tasks.cancel_scope.cancel()
        assert calls.statuses == [200, 503]
        assert calls.done[1][1].json()["error"]["code"] == "server_overloaded"


async def test_a_full_variant_gives_way_to_the_next_when_it_refuses() -> None:
    async with serve_engine(FAST) as other, serve_engine(SLOW) as engine:
        fallback = a_document(other.url)["models"][0] | {"name": "n"}
        first = a_document(engine.url, queue={"max_waiting": 0}, fallbacks=["n"])["models"][0]
        async with (
            running({"models": [first, fallback]}, [engine, other]) as it,
            calls_to(it) as calls,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(calls.send)
            await until(lambda: it.in_flight == 1, within_s=5)
            await calls.send()
    assert calls.statuses == [200, 200]
    assert len(other.requests) == 1


async def test_a_failed_try_goes_to_the_head_of_the_line() -> None:
    async with narrow(SLOW, SLOW) as it, calls_to(it) as calls:
        first, second = it.engines
        first.inject("status=500", count=1)
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(calls.send)
        assert calls.statuses == [200] * 8
    assert len(first.requests) + len(second.requests) == 9
    again = next(line for line in it.log.requests if line["attempts"] == 2)
    assert again["outcome"] == "ok"


async def test_a_reload_that_adds_a_replica_wakes_who_waits(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with (
        serve_engine(FAST) as other,
        narrow(file=file) as it,
        calls_to(it) as calls,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_quietly, calls, LONG)
        await until(lambda: it.in_flight == 1, within_s=5)
        tasks.start_soon(calls.send)
        await calls.waiting(1)
        write(file, a_document(it.engine.url, other.url))
        await until(lambda: calls.statuses == [200], within_s=10)
        tasks.cancel_scope.cancel()
    assert len(other.requests) == 1


async def test_a_drain_lets_waiting_calls_finish() -> None:
    async with narrow() as it, calls_to(it) as calls:
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(calls.send)
                await until(lambda: it.in_flight == 1, within_s=5)
                await calls.waiting(number)
            it.gateway.begin_drain()
        assert calls.statuses == [200] * 3


async def test_what_still_waits_when_the_grace_is_over_is_told(direct: bool) -> None:
    async with narrow(direct=direct, server={"drain_grace_s": 0.2}) as it:
        async with calls_to(it) as calls:
            with anyio.fail_after(15):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_quietly, calls, LONG)
                    await until(lambda: it.in_flight == 1, within_s=5)
                    tasks.start_soon(_quietly, calls, 4)
                    await calls.waiting(1)
                    it.server.handle_exit(2, None)
        assert [line["error_code"] for line in it.log.requests] == ["gateway_draining"] * 2


async def _quietly(calls: Calls, tokens: int) -> None:
    try:
        await calls.send(max_tokens=tokens)
    except httpx.TransportError:
        return


async def test_the_size_of_an_engine_is_learned_from_its_metrics() -> None:
    small = EngineOptions(
        models=("sim",), max_num_seqs=2, inter_token_s=0.02, inter_token_s_per_running=0.0
    )
    async with narrow(small, concurrency="auto") as it, calls_to(it) as calls:
        (state,) = it.gateway.inference.exchange.fleet
        assert state.most == 256
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(_quietly, calls, 100)
            await until(lambda: state.most <= 3, within_s=15)
            assert state.target.basis == "learned"
            tasks.cancel_scope.cancel()


async def test_the_fleet_shows_who_waits_and_for_what() -> None:
    admin = {"GATEWAY_ADMIN_KEY": "admin"}
    async with (
        narrow(environ=admin) as it,
        calls_to(it) as calls,
        anyio.create_task_group() as tasks,
    ):
        for number in range(3):
            tasks.start_soon(_quietly, calls, LONG)
            await until(lambda: it.in_flight == 1, within_s=5)
            await calls.waiting(number)
        key = {"authorization": "Bearer admin"}
        shown = (await calls.client.get(it.url + "/admin/fleet", headers=key)).json()
        text = (await calls.client.get(it.url + "/metrics")).text
        tasks.cancel_scope.cancel()
    assert shown["queues"][0]["waiting"] == 2
    (replica,) = shown["replicas"]
    assert (replica["concurrency_target"], replica["in_flight"]) == (1, 1)
    assert replica["concurrency_basis"] == "configured"
    assert 'gateway_queue_waiting{model="m",variant="m"} 2.0' in text
    assert 'gateway_replica_concurrency_target{model="m",replica="r0",variant="m"} 1.0' in text


@pytest.mark.parametrize("engine", ["tgi", "llamacpp"])
async def test_other_engines_are_learned_as_well(engine: Any) -> None:
    options = EngineOptions(
        engine=engine,
        models=("sim",),
        max_num_seqs=2,
        inter_token_s=0.02,
        inter_token_s_per_running=0.0,
    )
    async with serve_engine(options) as small:
        document = a_document(small.url, concurrency="auto")
        document["models"][0]["variants"][0]["engine"] = engine
        async with running(document, [small]) as it, calls_to(it) as calls:
            (state,) = it.gateway.inference.exchange.fleet
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(_quietly, calls, 100)
                await until(lambda: state.most <= 3, within_s=15)
                tasks.cancel_scope.cancel()
