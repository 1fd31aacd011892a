"""LoRA adapters as models, on real sockets: who has them, who loads them, and what clients see."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.admin import KEY, Admin
from tests.support.running import FAST, Running, running, until

PATH = "/v1/chat/completions"
FIXED = replace(FAST, adapters=("sql",))
LOADS = replace(FAST, loads_adapters=True)
SQL = {"name": "sql", "path": "/adapters/sql"}


@asynccontextmanager
async def adapted(
    *options: EngineOptions, adapters: Sequence[dict[str, str]] = (SQL,), **more: Any
) -> AsyncIterator[Running]:
    """A gateway whose model `m` has these adapters on these engines."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(serve_engine(one)) for one in options]
        variant: dict[str, Any] = {
            "engine": options[0].engine,
            "quantization": "fp8",
            "served_model": "sim",
            "replicas": [{"url": engine.url} for engine in engines],
            "adapters": list(adapters),
        }
        variant |= more.pop("variant", {})
        document = {"models": [{"name": "m", "variants": [variant]} | more.pop("model", {})]} | more
        environ = {"GATEWAY_ADMIN_KEY": KEY}
        yield await stack.enter_async_context(running(document, engines, environ=environ))


async def ask(it: Running, model: str = "sql", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(it.url + PATH, json=body | more)


def seen(it: Running, number: int, path: str = PATH) -> list[Any]:
    """What an engine was asked at a path."""
    return [one.body for one in it.engines[number].requests if one.path == path]


def loads(it: Running, number: int) -> list[Any]:
    return seen(it, number, "/v1/load_lora_adapter")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_it_is_asked_for_by_name_where_it_is_loaded(stream: bool) -> None:
    async with adapted(FAST, FIXED, adapters=[{"name": "sql"}]) as it:
        for _ in range(4):
            answer = await ask(it, stream=stream)
            assert answer.status_code == 200
            assert '"model":"sql"' in answer.text
        assert [one["model"] for one in seen(it, 1)] == ["sql"] * 4
        assert seen(it, 0) == []
        await it.settled()
    line = it.log.requests[0]
    assert (line["model"], line["variant"]) == ("sql", "sql:fp8")


async def test_models_list_it_with_its_parent() -> None:
    async with adapted(FIXED) as it, httpx.AsyncClient(timeout=30) as client:
        listed = (await client.get(it.url + "/v1/models")).json()["data"]
        assert {one["id"]: one.get("parent") for one in listed} == {
            "m": None,
            "m:fp8": None,
            "sql": "m",
            "sql:fp8": "m:fp8",
        }
        one = (await client.get(it.url + "/v1/models/sql")).json()
        assert one["parent"] == "m"
        fleet = (await Admin(it).ask("GET", "/fleet")).json()
    assert fleet["replicas"][0]["adapters"] == ["sql"]
    assert [one["variant"] for one in fleet["queues"]] == ["m:fp8"]


async def test_the_base_and_its_adapter_share_the_replicas_places() -> None:
    slow = replace(FIXED, inter_token_s=0.05)
    async with adapted(slow, variant={"concurrency": 1}) as it, anyio.create_task_group() as group:
        group.start_soon(ask, it, "m")
        await until(lambda: it.in_flight == 1, 10)
        answer = await ask(it, "sql")
        assert answer.status_code == 200
        await it.settled()
        waited = [line for line in it.log.requests if line.get("queue_ms")]
        assert [line["model"] for line in waited] == ["sql"]


async def test_it_is_loaded_where_it_is_asked_for_and_once() -> None:
    slow = replace(LOADS, adapter_load_s=0.2)
    async with adapted(slow) as it:
        statuses: list[int] = []

        async def one() -> None:
            statuses.append((await ask(it)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)
        assert statuses == [200] * 5
        assert loads(it, 0) == [{"lora_name": "sql", "lora_path": "/adapters/sql"}]


async def test_the_second_replica_loads_it_when_the_first_is_full() -> None:
    slow = replace(LOADS, inter_token_s=0.2)
    async with adapted(slow, slow, variant={"concurrency": 1}) as it:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, it)
            await until(lambda: len(seen(it, 0)) + len(seen(it, 1)) == 1, 10)
            group.start_soon(ask, it)
        assert (len(loads(it, 0)), len(loads(it, 1))) == (1, 1)


async def test_a_replica_that_cannot_load_it_is_passed_over() -> None:
    async with adapted(FAST, LOADS, model={"policy": "round-robin"}) as it:
        for _ in range(3):
            assert (await ask(it)).status_code == 200
        assert len(seen(it, 1)) == 3
        assert len(loads(it, 0)) <= 1
        # that it could not load an adapter says nothing of its health
        assert all(state.is_usable for state in it.gateway.inference.exchange.fleet)


async def test_an_adapter_that_is_nowhere_is_an_honest_error() -> None:
    nowhere = [{"name": "sql", "path": "/adapters/missing"}]
    async with adapted(LOADS, LOADS, adapters=nowhere) as it:
        first, second = await ask(it), await ask(it)
        assert (first.status_code, first.json()["error"]["code"]) == (503, "adapter_not_loaded")
        assert second.json()["error"]["code"] == "no_replica_available"
        assert '"sql"' in second.json()["error"]["message"]
        assert (await ask(it, "m")).status_code == 200
        assert len(loads(it, 0)) == len(loads(it, 1)) == 1


async def test_nobody_has_it_and_nobody_can_load_it() -> None:
    async with adapted(FAST, adapters=[{"name": "sql"}]) as it:
        answer = await ask(it)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_replica_available")
        assert seen(it, 0) == []


async def test_the_least_recently_used_makes_room() -> None:
    adapters = [{"name": name, "path": f"/adapters/{name}"} for name in ("a", "b", "c")]
    async with adapted(LOADS, adapters=adapters, variant={"max_adapters": 2}) as it:
        for name in ("a", "b", "a", "c"):
            assert (await ask(it, name)).status_code == 200
        assert seen(it, 0, "/v1/unload_lora_adapter") == [{"lora_name": "b"}]
        assert sorted(it.engine.adapters) == ["a", "c"]


async def test_one_that_the_engine_has_lost_is_loaded_again() -> None:
    async with adapted(LOADS, LOADS) as it:
        assert (await ask(it)).status_code == 200
        for engine in it.engines:
            engine.adapters.clear()  # as after a restart
        assert (await ask(it)).status_code == 200
        assert len(loads(it, 0)) + len(loads(it, 1)) == 2
        assert all(state.is_usable for state in it.gateway.inference.exchange.fleet)


async def test_plans_allow_it_by_its_name() -> None:
    keys = [{"name": "k", "plan": "p", "secret": {"value": "sk-1"}}]
    plans = [{"name": "p", "models": ["m"]}]
    async with adapted(FIXED, keys=keys, plans=plans) as it:
        headers = {"authorization": "Bearer sk-1"}
        async with httpx.AsyncClient(timeout=30, headers=headers) as client:
            body = {"model": "sql", "messages": [{"role": "user", "content": "Hi"}]}
            assert (await client.post(it.url + PATH, json=body)).status_code == 403


async def test_tgi_is_asked_by_its_own_names_for_adapters() -> None:
    tgi = replace(FAST, engine="tgi", adapters=("sql",))
    async with adapted(tgi, adapters=[{"name": "sql"}]) as it:
        assert (await ask(it)).status_code == 200
        assert (await ask(it, "m")).status_code == 200
        assert [one["model"] for one in seen(it, 0)] == ["sql", "tgi"]
        body = {"inputs": "Hi", "parameters": {"max_new_tokens": 2}}
        async with httpx.AsyncClient(timeout=30) as client:
            for path in ("generate", "generate_stream"):
                for model in ("sql", "m"):
                    answer = await client.post(f"{it.url}/tgi/{model}/{path}", json=body)
                    assert answer.status_code == 200
                asked = [one["parameters"].get("adapter_id") for one in seen(it, 0, f"/{path}")]
                assert asked == ["sql", None]


async def test_what_a_replica_of_another_kind_takes_by_name_goes_there() -> None:
    other = replace(FAST, engine="openai", models=("sim", "sql"))
    async with adapted(other, adapters=[{"name": "sql"}]) as it:
        assert (await ask(it)).status_code == 200
        assert [one["model"] for one in seen(it, 0)] == ["sql"]


async def test_a_stream_goes_on_where_the_adapter_is() -> None:
    async with adapted(FIXED, FAST, FIXED, adapters=[{"name": "sql"}]) as it:
        it.engines[0].inject("reset-after=3")
        it.engines[2].inject("reset-after=3", count=1)
        answer = await ask(it, stream=True, max_tokens=24, temperature=0)
        assert answer.text.endswith("data: [DONE]\n\n") or '"error"' in answer.text
        assert seen(it, 1) == []


async def test_conversations_with_an_adapter_are_known_apart_from_the_models() -> None:
    async with adapted(FIXED, model={"policy": "prefix-affinity"}) as it:
        long = [{"role": "user", "content": "word " * 500}]
        (state,) = it.gateway.inference.exchange.fleet
        await ask(it, "m", messages=long)
        once = len(state.prefixes)
        await ask(it, "sql", messages=long)
        assert len(state.prefixes) == 2 * once - 1  # the key that stands for nothing is shared
        await ask(it, "sql", messages=long)
        assert len(state.prefixes) == 2 * once - 1  # the key that stands for nothing is shared
