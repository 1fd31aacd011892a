"""One of several variants answers: by load, by bits, by share; and the answer says which."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx
import openai
import pytest

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.counted import counted
from tests.support.running import FAST, Running, running, until

PATH = "/v1/chat/completions"
SLOW = EngineOptions(models=("sim",), inter_token_s=0.03, inter_token_s_per_running=0.0)
LATE = EngineOptions(
    models=("sim",), inter_token_s=0.002, inter_token_s_per_running=0.0, prefill_s_per_token=0.02
)
TAGS = ("bf16", "fp8", "int4")
NAMES = ("x-gateway-model", "x-gateway-variant", "x-gateway-replica")


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4} | more


@asynccontextmanager
async def variants(
    *options: EngineOptions,
    model: dict[str, Any] | None = None,
    direct: bool = True,
    **more: Any,
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """A model in three variants of one replica each, which has one place."""
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(serve_engine(one)) for one in options or [SLOW] * 3
        ]
        given = [
            {
                "quantization": tag,
                "engine": "vllm",
                "served_model": "sim",
                "concurrency": 1,
                "replicas": [{"url": engine.url, "name": f"gpu-{tag}"}],
            }
            for tag, engine in zip(TAGS, engines, strict=False)
        ]
        document = {"models": [{"name": "m", "variants": given, **(model or {})}]} | more
        it = await stack.enter_async_context(running(document, engines, direct=direct))
        yield it, await stack.enter_async_context(httpx.AsyncClient(timeout=30, base_url=it.url))
        await it.settled()


def variant_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-gateway-variant"]


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])
async def test_an_answer_says_who_gave_it_and_the_sdk_can_read_it(direct: bool) -> None:
    async with variants(FAST, direct=direct) as (it, _):
        sdk = openai.AsyncOpenAI(base_url=it.url + "/v1", api_key="none", max_retries=0)
        async with sdk:
            whole = await sdk.chat.completions.with_raw_response.create(**chat())
            streamed = await sdk.chat.completions.with_raw_response.create(**chat(stream=True))
            async for _ in streamed.parse():
                pass
        for answer in (whole, streamed):
            told = [answer.headers[name] for name in NAMES]
            assert told == ["m", "m:bf16", "gpu-bf16"]
            assert it.engine.url.partition("://")[2] not in str(answer.headers)


async def test_what_is_not_to_be_told_is_not() -> None:
    async with variants(FAST, server={"routing_headers": False}) as (_, client):
        answer = await client.post(PATH, json=chat())
    assert not set(NAMES) & answer.headers.keys()


async def test_a_failure_names_who_failed() -> None:
    async with variants(FAST, retries={"max_attempts": 1}) as (_, client):
        body = chat(messages=[{"role": "user", "content": "Hi"}], max_tokens=-5)
        answer = await client.post(PATH, json=body)
    assert answer.status_code == 400
    assert answer.headers["x-gateway-replica"] == "gpu-bf16"


async def test_calls_spill_to_the_next_variant_while_the_best_is_full_and_come_back() -> None:
    async with variants(model={"choose": "spill"}) as (it, client):
        found: list[str] = []

        async def ask(tokens: int) -> None:
            answer = await client.post(PATH, json=chat(max_tokens=tokens, min_tokens=tokens))
            found.append(variant_of(answer))

        async with anyio.create_task_group() as tasks:
            for count in (1, 2, 3):
                tasks.start_soon(ask, 60)
                await until(lambda count=count: it.in_flight == count, within_s=20)  # type: ignore[misc]
        assert sorted(found) == ["m:bf16", "m:fp8", "m:int4"]
        await it.settled()
        await ask(2)
        assert found[-1] == "m:bf16"
        metrics = it.gateway.books._metrics
        assert counted(metrics, "gateway_choices", "reason") == {"first": 2, "spilled": 2}
        assert counted(metrics, "gateway_choices", "variant") == {
            "m:bf16": 2, "m:fp8": 1, "m:int4": 1,
        }  # fmt: skip
    told = {line["variant"]: line.get("chosen") for line in it.log.requests}
    assert told == {"m:bf16": None, "m:fp8": "spilled", "m:int4": "spilled"}


async def test_late_first_tokens_send_calls_on() -> None:
    options = [LATE, FAST, FAST]
    async with variants(*options, model={"choose": {"by": "spill", "ttft_s": 0.15}}) as (_, client):
        long = [{"role": "user", "content": "word " * 60}]
        found = [
            variant_of(await client.post(PATH, json=chat(stream=True, messages=long)))
            for _ in range(3)
        ]
    assert found == ["m:bf16", "m:fp8", "m:fp8"]


async def test_a_plan_may_wait_for_the_best() -> None:
    more: dict[str, Any] = {
        "plans": [{"name": "patient", "choose": "first"}, {"name": "default"}],
        "keys": [
            {"name": "p", "plan": "patient", "secret": {"value": "sk-p"}},
            {"name": "d", "secret": {"value": "sk-d"}},
        ],
    }
    async with variants(model={"choose": "spill"}, **more) as (it, client):
        found: dict[str, str] = {}

        async def ask(key: str, tokens: int) -> None:
            headers = {"authorization": f"Bearer sk-{key[0]}"}
            body = chat(max_tokens=tokens, min_tokens=tokens)
            found[key] = variant_of(await client.post(PATH, json=body, headers=headers))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "d0", 40)
            await until(lambda: it.in_flight == 1, within_s=20)
            tasks.start_soon(ask, "p1", 2)
            queues = it.gateway.inference.exchange.queues
            await until(lambda: queues.waiting("m:bf16") == 1, within_s=20)
            tasks.start_soon(ask, "d2", 2)
    assert found == {"d0": "m:bf16", "p1": "m:bf16", "d2": "m:fp8"}


async def test_a_call_that_forbids_few_bits_gets_no_fewer_even_when_engines_fail() -> None:
    async with variants(FAST, FAST, FAST) as (it, client):
        for engine in it.engines[:2]:
            engine.inject("status=500", count=2)
        failed = await client.post(PATH, json=chat(), headers={"x-gateway-min-bits": "8"})
        others = await client.post(PATH, json=chat())
        answer = await client.post(PATH, json=chat(), headers={"x-gateway-min-bits": "8"})
        assert variant_of(answer) in ("m:bf16", "m:fp8")
        refused = await client.post(PATH, json=chat(), headers={"x-gateway-min-bits": "17"})
        wrong = await client.post(PATH, json=chat(), headers={"x-gateway-min-bits": "fp8"})
        pinned = await client.post(
            PATH, json=chat(model="m:int4"), headers={"x-gateway-min-bits": "8"}
        )
    assert failed.status_code == 502
    assert failed.headers["x-gateway-variant"] == "m:fp8"
    assert variant_of(others) == "m:int4", "where nothing is forbidden"
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "too_few_bits")
    assert "m:bf16 has 16, m:fp8 has 8, m:int4 has 4" in error["message"]
    assert wrong.status_code == 400
    assert wrong.json()["error"]["param"] == "x-gateway-min-bits"
    assert pinned.status_code == 400


async def test_a_tag_pins() -> None:
    async with variants(FAST, FAST, FAST, model={"choose": "spill"}) as (_, client):
        answer = await client.post(PATH, json=chat(model="m:int4"))
        assert variant_of(answer) == "m:int4"
        assert json.loads(answer.content)["model"] == "m:int4"
