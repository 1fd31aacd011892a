"""The official SDK talks through the gateway to real engines."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.engines.conftest import StartAnother
from tests.support.real_engines import RealEngine
from tests.support.running import Running, running, until

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello world"}]
KEY = "sk-team"


@asynccontextmanager
async def gateway(kind: str, *engines: RealEngine, **model: Any) -> AsyncIterator[Running]:
    """A gateway whose model `m:tag` is served by these engines under another name."""
    variant = {
        "quantization": "bf16",
        "engine": kind,
        "served_model": engines[0].served_name,
        "replicas": [{"url": engine.url} for engine in engines],
    }
    document = {
        "models": [{"name": "m", "aliases": ["gpt-4o"], "variants": [variant], **model}],
        "keys": [{"name": "team", "secret": {"value": KEY}}],
        "retries": {"max_attempts": 4},
    }
    async with running(document) as it:
        yield it


def sdk(it: Running, key: str = KEY) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{it.url}/v1", api_key=key, max_retries=0, timeout=60)


async def gauge(engine: RealEngine, name: str) -> float:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{engine.url}/metrics")).text
    found = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    assert found, f"{engine.name} does not report {name}"
    return sum(map(float, found))


async def until_gauge(engine: RealEngine, name: str, *, busy: bool, within_s: float) -> None:
    with anyio.fail_after(within_s):
        while (await gauge(engine, name) > 0) is not busy:  # noqa: ASYNC110  # asked, not told
            await anyio.sleep(0.05)


async def text_of(stream: Any) -> str:
    return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


async def test_vllm_chats(two_vllms: tuple[RealEngine, RealEngine]) -> None:
    async with gateway("vllm", *two_vllms) as it, sdk(it) as client:
        for asked in ("m", "m:bf16", "gpt-4o"):
            answer = await client.chat.completions.create(
                model=asked, messages=HELLO, max_tokens=6, temperature=0
            )
            assert answer.model == asked
            assert answer.choices[0].finish_reason == "length"
            assert answer.usage is not None
            assert answer.usage.completion_tokens == 6
        await it.settled()
    assert {line["replica"] for line in it.log.requests} == {"r0", "r1"}
    assert {line["caller"] for line in it.log.requests} == {"team"}


async def test_vllms_stream_says_what_its_whole_answer_says(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it, sdk(it) as client:
        whole = await client.chat.completions.create(
            model="m", messages=HELLO, max_tokens=40, temperature=0
        )
        stream = await client.chat.completions.create(
            model="m", messages=HELLO, max_tokens=40, temperature=0, stream=True
        )
        assert await text_of(stream) == whole.choices[0].message.content
        await it.settled()
    streamed = it.log.requests[1]
    assert streamed["completion_tokens"] == 40
    assert streamed["ttft_ms"] > 0


async def test_vllms_usage_is_shown_to_those_who_ask(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it, sdk(it) as client:
        asked = await client.chat.completions.create(
            model="m",
            messages=HELLO,
            max_tokens=3,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in asked]
        quiet = await client.chat.completions.create(
            model="m", messages=HELLO, max_tokens=3, stream=True
        )
        others = [chunk async for chunk in quiet]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert all(chunk.usage is None and chunk.choices for chunk in others)


async def test_vllms_logprobs_pass(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it, sdk(it) as client:
        answer = await client.chat.completions.create(
            model="m", messages=HELLO, max_tokens=3, logprobs=True, top_logprobs=2
        )
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.content is not None
    assert len(answer.choices[0].logprobs.content) == 3
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2


async def test_vllm_stops_where_it_is_told(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it, sdk(it) as client:
        whole = await client.chat.completions.create(
            model="m", messages=HELLO, max_tokens=30, temperature=0
        )
        text = whole.choices[0].message.content
        assert text
        stop = text[5:7]
        cut = await client.chat.completions.create(
            model="m", messages=HELLO, max_tokens=30, temperature=0, stop=stop
        )
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content == text[: text.index(stop)]


async def test_what_only_vllm_knows_passes_and_its_old_names_do_too(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it, sdk(it) as client:
        for only in ({"structured_outputs": {"choice": ["ab"]}}, {"guided_choice": ["ab"]}):
            answer = await client.chat.completions.create(
                model="m", messages=HELLO, max_tokens=20, extra_body=only
            )
            assert answer.choices[0].message.content == "ab"
        with_ids = await client.chat.completions.create(
            model="m",
            messages=HELLO,
            max_tokens=3,
            extra_body={"return_token_ids": True, "top_k": 1},
        )
    assert with_ids.choices[0].model_extra is not None
    assert len(with_ids.choices[0].model_extra["token_ids"]) == 3


async def test_vllms_completions(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it, sdk(it) as client:
        whole = await client.completions.create(
            model="m", prompt="Once", max_tokens=8, temperature=0
        )
        stream = await client.completions.create(
            model="m", prompt="Once", max_tokens=8, temperature=0, stream=True
        )
        text = "".join([chunk.choices[0].text async for chunk in stream])
    assert whole.model == "m"
    assert text == whole.choices[0].text


async def test_what_vllm_refuses_is_openais_error(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it, sdk(it) as client:
        create = client.chat.completions.create
        with pytest.raises(openai.BadRequestError) as cold:
            await create(model="m", messages=HELLO, temperature=-1)
        with pytest.raises(openai.BadRequestError) as long:
            await create(model="m", messages=[{"role": "user", "content": "Z" * 3000}])
        with pytest.raises(openai.BadRequestError) as many:
            await create(model="m", messages=HELLO, max_tokens=100_000)
        with pytest.raises(openai.BadRequestError) as biased:
            await create(model="m", messages=HELLO, stream=True, logit_bias={"99999": 1})
        with pytest.raises(openai.BadRequestError):
            await create(model="m", messages=HELLO, tool_choice="auto", tools=_TOOLS)
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="m", input="Hello")
        with pytest.raises(openai.NotFoundError) as unknown:
            await create(model="m:fp8", messages=HELLO)
        await it.settled()
    assert cold.value.param == "temperature"
    assert long.value.code == "context_length_exceeded"
    assert many.value.param == "max_tokens"
    assert biased.value.param == "logit_bias"
    assert unknown.value.code == "model_not_found"
    assert {line["outcome"] for line in it.log.requests} == {"client_error"}
    assert all(line["attempts"] <= 1 for line in it.log.requests)


_TOOLS: Any = [
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}},
]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_vllms_work(a_vllm: RealEngine, stream: bool) -> None:
    name = "vllm:num_requests_running"
    before = await gauge(a_vllm, "vllm:generation_tokens_total")
    async with gateway("vllm", a_vllm) as it:
        body = {"model": "m", "messages": HELLO, "stream": stream, "max_tokens": 900}
        headers = {"authorization": f"Bearer {KEY}"}
        async with anyio.create_task_group() as leaving, httpx.AsyncClient() as client:

            async def ask() -> None:
                while True:  # an answer may be whole before the gauge has shown it
                    await client.post(
                        f"{it.url}/v1/chat/completions",
                        json=body | {"ignore_eos": True},
                        headers=headers,
                        timeout=60,
                    )

            leaving.start_soon(ask)
            await until_gauge(a_vllm, name, busy=True, within_s=60)
            leaving.cancel_scope.cancel()
        await until(lambda: _outcomes(it)[-1:] == ["client_gone"], within_s=5)
        await until_gauge(a_vllm, name, busy=False, within_s=3)
        generated = await gauge(a_vllm, "vllm:generation_tokens_total") - before
    assert set(_outcomes(it)[:-1]) <= {"ok"}
    assert generated < 900 * len(_outcomes(it))


async def test_one_killed_replica_is_not_noticed(
    a_vllm: RealEngine, start_another_vllm: StartAnother
) -> None:
    other = start_another_vllm()
    async with gateway("vllm", a_vllm, other) as it, sdk(it) as client:
        await until(lambda: all(s.is_usable for s in _replicas(it)), within_s=10)
        streams = [
            await client.chat.completions.create(
                model="m",
                messages=HELLO,
                max_tokens=900,
                stream=True,
                extra_body={"ignore_eos": True},
            )
            for _ in range(2)
        ]
        firsts = [await anext(stream) for stream in streams]
        assert len(firsts) == 2
        await anyio.to_thread.run_sync(other.kill)
        for number in range(6):
            answer = await client.chat.completions.create(
                model="m", messages=HELLO, max_tokens=4, stream=False
            )
            assert answer.choices[0].finish_reason == "length", number
        ends = [await _end(stream) for stream in streams]
        await until(lambda: not all(s.is_usable for s in _replicas(it)), within_s=10)
        await it.settled(10)
    # the stream of the killed one went on with the other
    assert ends == ["complete", "complete"]
    assert sum(line.get("resumes", 0) for line in it.log.requests) == 1


def _outcomes(it: Running) -> list[str]:
    return [line["outcome"] for line in it.log.requests]


def _replicas(it: Running) -> list[Any]:
    return list(it.gateway.inference.exchange.fleet)


async def _end(stream: Any) -> str:
    try:
        chunks = [chunk async for chunk in stream]
    except openai.APIError:
        return "error"
    return "complete" if chunks[-1].choices[0].finish_reason == "length" else "cut"


async def test_vllms_load_and_capacity_are_read(a_vllm: RealEngine) -> None:
    async with gateway("vllm", a_vllm) as it:
        (state,) = _replicas(it)
        await until(lambda: state.kv_cache_tokens is not None, within_s=10)
        assert state.is_usable
        assert state.kv_cache_tokens > 1000


async def test_llama_server_chats(llama_server: RealEngine) -> None:
    async with gateway("llamacpp", llama_server) as it, sdk(it) as client:
        whole = await client.chat.completions.create(
            model="m:bf16", messages=HELLO, max_tokens=20, temperature=0
        )
        stream = await client.chat.completions.create(
            model="m:bf16", messages=HELLO, max_tokens=20, temperature=0, stream=True
        )
        models, text = set(), ""
        async for chunk in stream:
            models.add(chunk.model)
            assert chunk.usage is None
            text += chunk.choices[0].delta.content or ""
        await it.settled()
    assert whole.model == "m:bf16"
    assert models == {"m:bf16"}
    assert text == whole.choices[0].message.content
    assert it.log.requests[1]["completion_tokens"] == 20


async def test_llama_server_stops_logs_and_refuses(llama_server: RealEngine) -> None:
    async with gateway("llamacpp", llama_server) as it, sdk(it) as client:
        create = client.chat.completions.create
        logged = await create(model="m", messages=HELLO, max_tokens=3, logprobs=True)
        with pytest.raises(openai.BadRequestError) as long:
            await create(model="m", messages=[{"role": "user", "content": "Z" * 20_000}])
        with pytest.raises(openai.BadRequestError):
            await client.embeddings.create(model="m", input="Hello")
        with pytest.raises(openai.BadRequestError):
            await create(model="m", messages=HELLO, temperature="warm")  # type: ignore[call-overload]
    assert logged.choices[0].logprobs is not None
    assert long.value.code == "context_length_exceeded"


async def test_a_client_that_leaves_ends_llama_servers_work(llama_server: RealEngine) -> None:
    name = "llamacpp:requests_processing"
    async with gateway("llamacpp", llama_server) as it, sdk(it) as client:
        stream = await client.chat.completions.create(
            model="m",
            messages=HELLO,
            max_tokens=6000,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        await anext(stream)
        assert await gauge(llama_server, name) == 1
        await stream.close()
        await it.settled(1)
        await until_gauge(llama_server, name, busy=False, within_s=3)


async def test_a_killed_llama_server_is_an_error_and_never_a_silent_end(
    start_another_llama_server: StartAnother,
) -> None:
    engine = start_another_llama_server()
    async with gateway("llamacpp", engine) as it, sdk(it) as client:
        stream = await client.chat.completions.create(
            model="m",
            messages=HELLO,
            max_tokens=6000,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        await anext(stream)
        await anyio.to_thread.run_sync(engine.kill)
        assert await _end(stream) == "error"
        with pytest.raises(openai.InternalServerError) as away:
            await client.chat.completions.create(model="m", messages=HELLO)
        await it.settled(5)
    assert away.value.status_code == 502
