"""The official SDK, pointed at the gateway, cannot tell the difference."""

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.support.leaks import PROMPT
from tests.support.running import FAST, a_gateway, running

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]


def sdk(url: str, key: str = "sk-test") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


async def test_a_whole_answer(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, sdk(it.url) as client:
        answer = await client.chat.completions.create(model="m", messages=HELLO, max_tokens=5)
        await it.settled()
    assert answer.model == "m"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    line = it.log.requests[0]
    assert line["outcome"] == "ok"
    assert line["completion_tokens"] == 5
    assert answer._request_id == line["request_id"]


async def test_a_stream_says_what_a_whole_answer_says(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, sdk(it.url) as client:
        whole = await client.chat.completions.create(model="m", messages=HELLO, max_tokens=20)
        text, models, usages = "", set(), 0
        stream = await client.chat.completions.create(
            model="m", messages=HELLO, max_tokens=20, stream=True
        )
        async for chunk in stream:
            models.add(chunk.model)
            usages += chunk.usage is not None
            text += chunk.choices[0].delta.content or ""
        await it.settled()
    assert text == whole.choices[0].message.content
    assert models == {"m"}
    assert usages == 0
    line = it.log.requests[1]
    assert line["completion_tokens"] == 20
    assert line["ttft_ms"] > 0


async def test_usage_comes_in_the_stream_when_it_was_asked_for(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, sdk(it.url) as client:
        stream = await client.chat.completions.create(
            model="m",
            messages=HELLO,
            max_tokens=3,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


async def test_completions(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, sdk(it.url) as client:
        whole = await client.completions.create(model="m", prompt="Once", max_tokens=8)
        stream = await client.completions.create(
            model="m", prompt="Once", max_tokens=8, stream=True
        )
        text = "".join([chunk.choices[0].text async for chunk in stream])
    assert text == whole.choices[0].text


async def test_models_are_listed_with_their_tags() -> None:
    variants = {
        "variants": [
            {"quantization": "fp8", "engine": "vllm", "replicas": [{"url": "http://127.0.0.1:9"}]},
            {"quantization": "int4", "engine": "vllm", "replicas": [{"url": "http://127.0.0.1:9"}]},
        ],
        "aliases": ["gpt-4o"],
    }
    async with a_gateway(model=variants) as it, sdk(it.url) as client:
        listed = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("m:int4")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("nobody")
    assert listed == ["m", "m:fp8", "m:int4"]
    assert one.id == "m:int4"
    assert missing.value.code == "model_not_found"


async def test_an_unknown_model_is_404_and_names_what_is_near(direct: bool) -> None:
    model = {"name": "llama-3.1-8b"}
    async with a_gateway(model=model, direct=direct) as it, sdk(it.url) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="llama-3-8b", messages=HELLO)
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    assert "llama-3.1-8b" in missing.value.message


async def test_keys_are_asked_for_and_never_logged(direct: bool) -> None:
    keys = [{"name": "team", "secret": {"from_env": "TEAM_KEY"}}]
    environ = {"TEAM_KEY": "sk-right"}
    async with a_gateway(keys=keys, environ=environ, direct=direct) as it:
        async with sdk(it.url, "sk-wrong") as client:
            with pytest.raises(openai.AuthenticationError) as wrong:
                await client.chat.completions.create(model="m", messages=HELLO)
        async with sdk(it.url, "sk-right") as client:
            await client.chat.completions.create(model="m", messages=HELLO, max_tokens=1)
        await it.settled()
    assert wrong.value.code == "invalid_api_key"
    assert it.log.requests[1]["caller"] == "team"
    assert b"sk-right" not in it.log.text
    assert b"sk-wrong" not in it.log.text
    assert all("sk-right" not in str(seen.headers) for seen in it.engine.requests)


async def test_a_plan_limits_the_models(direct: bool) -> None:
    keys = [{"name": "team", "plan": "small", "secret": {"value": "sk-a"}}]
    models_of_plan = [{"name": "small", "models": ["other"]}]
    other = {"name": "other", "engine": "vllm", "url": "http://127.0.0.1:9"}
    async with a_gateway(direct=direct) as plain:
        document = {
            "models": [{"name": "m", "engine": "vllm", "url": plain.engine.url}, other],
            "plans": models_of_plan,
            "keys": keys,
        }
        async with running(document, direct=direct) as it, sdk(it.url, "sk-a") as client:
            with pytest.raises(openai.PermissionDeniedError) as refused:
                await client.chat.completions.create(model="m", messages=HELLO)
            listed = [model.id async for model in client.models.list()]
    assert refused.value.code == "model_not_allowed"
    assert listed == ["other"]


async def test_what_the_engine_refuses_keeps_its_status_and_words(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, sdk(it.url) as client:
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(model="m", messages=HELLO, temperature=9)
        with pytest.raises(openai.BadRequestError) as long:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Z" * 60_000}]
            )
    assert bad.value.param == "temperature"
    assert long.value.code == "context_length_exceeded"


async def test_an_error_event_before_content_becomes_a_true_status(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, sdk(it.url) as client:
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(
                model="m", messages=HELLO, stream=True, logit_bias={"-7": 1}
            )
    assert FAST.models == ("sim",)
