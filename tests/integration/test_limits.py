"""Limits as clients meet them: headers, refusals, waiting as told, and what is left afterwards."""

import re
from typing import Any

import anyio
import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from gateway.simulator.options import EngineOptions
from tests.support.limit_stores import buckets
from tests.support.redis_servers import RedisServer
from tests.support.running import Running, a_gateway, running, until

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
SLOW = EngineOptions(models=("sim",), inter_token_s=0.05, inter_token_s_per_running=0.0)
CHAT = {"model": "m", "messages": HELLO, "max_tokens": 5}


def plan(**limits: Any) -> list[dict[str, Any]]:
    return [{"name": "default", **limits}]


def sdk(it: Running, retries: int = 0) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{it.url}/v1", api_key="sk-test", max_retries=retries)


async def post(it: Running, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(f"{it.url}/v1/chat/completions", json=CHAT | more)


def limits_of(answer: httpx.Response) -> dict[str, str]:
    return {
        name.removeprefix("x-ratelimit-"): value
        for name, value in answer.headers.items()
        if name.startswith("x-ratelimit-")
    }


@pytest.mark.parametrize("streams", [False, True])
async def test_a_limited_answer_tells_what_is_left(direct: bool, streams: bool) -> None:
    limits = plan(requests_per_minute=600, tokens_per_minute=60_000, concurrent_requests=5)
    async with a_gateway(direct=direct, plans=limits) as it:
        answer = await post(it, stream=streams)
    told = limits_of(answer)
    assert answer.status_code == 200
    assert (told["limit-requests"], told["remaining-requests"]) == ("600", "599")
    assert told["limit-tokens"] == "60000"
    assert 59_900 < int(told["remaining-tokens"]) < 60_000
    assert told["reset-requests"] == "100ms"
    assert re.fullmatch(r"\d+ms", told["reset-tokens"])


async def test_an_answer_without_limits_tells_none(direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        assert limits_of(await post(it)) == {}


async def test_tokens_are_settled_to_what_the_engine_counted(direct: bool) -> None:
    async with a_gateway(direct=direct, plans=plan(tokens_per_day=86_400)) as it:
        first = await post(it)
        answer = await post(it, max_tokens=300)
        used = sum(one.json()["usage"]["total_tokens"] for one in (first, answer))
        await it.settled()
        left = int(limits_of(await post(it))["remaining-tokens"])
    assert used > 300
    estimate = 86_400 - int(limits_of(first)["remaining-tokens"])
    # one token a second comes back meanwhile
    assert 0 <= left - (86_400 - used - estimate) <= 10


async def test_a_refusal_is_openais(direct: bool) -> None:
    async with a_gateway(direct=direct, plans=plan(requests_per_minute=1)) as it, sdk(it) as client:
        await client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
    error = refused.value
    assert (error.code, error.type, error.status_code) == ("rate_limit_exceeded", "requests", 429)
    assert 'your key "anonymous" on requests per minute: limit 1, used 1, requested 1; try' in str(
        error
    )
    headers = error.response.headers
    assert headers["x-ratelimit-remaining-requests"] == "0"
    wait_ms = int(headers["retry-after-ms"])
    assert 50_000 < wait_ms <= 60_000
    assert int(headers["retry-after"]) == -(-wait_ms // 1000)


async def test_the_python_sdk_waits_as_told_and_succeeds(direct: bool) -> None:
    limits = plan(requests_per_minute=120, burst={"requests_per_minute": 1})
    async with a_gateway(direct=direct, plans=limits) as it, sdk(it, retries=2) as client:
        for _ in range(3):
            answer = await client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
            assert answer.choices[0].message.content
        await it.settled()
        told = [(line["status"], line.get("sdk_retry")) for line in it.log.requests]
    assert told == [(200, "0"), (429, "0"), (200, "1"), (429, "0"), (200, "1")]


async def test_what_can_never_fit_is_tried_once(direct: bool) -> None:
    async with a_gateway(direct=direct, plans=plan(tokens_per_minute=50)) as it:
        async with sdk(it, retries=2) as client:
            with pytest.raises(openai.RateLimitError, match="larger than its limit") as refused:
                await client.chat.completions.create(model="m", messages=HELLO, max_tokens=60)
        assert refused.value.type == "tokens"
        assert [line["status"] for line in it.log.requests] == [429]


async def test_slots_are_held_while_streams_run_and_no_longer(direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct, plans=plan(concurrent_requests=2)) as it:
        async with httpx.AsyncClient(timeout=20) as client:
            url, body = f"{it.url}/v1/chat/completions", CHAT | {"stream": True, "max_tokens": 400}
            async with client.stream("POST", url, json=body) as first:
                some = first.aiter_bytes()
                await anext(some)
                async with client.stream("POST", url, json=body) as second:
                    others = second.aiter_bytes()
                    await anext(others)
                    third = await client.post(url, json=CHAT)
                    assert third.status_code == 429
                    assert "concurrent requests: limit 2, all in use" in third.text
                    assert int(third.headers["retry-after-ms"]) <= 10_000
        await it.settled()
        assert (await post(it)).status_code == 200


async def test_a_client_that_leaves_pays_for_what_was_generated(direct: bool) -> None:
    (bucket,) = buckets(tokens_per_day=86_400)
    async with a_gateway(SLOW, direct=direct, plans=plan(tokens_per_day=86_400)) as it:
        url, body = f"{it.url}/v1/chat/completions", CHAT | {"stream": True, "max_tokens": 4000}
        async with (
            httpx.AsyncClient(timeout=20) as client,
            client.stream("POST", url, json=body) as answer,
        ):
            pieces = answer.aiter_bytes()
            for _ in range(5):
                await anext(pieces)
        await it.settled()
        (line,) = it.log.requests
        (lack_us,) = await it.gateway.limiter.store.lacks(
            it.gateway.limiter.buckets_of(
                it.gateway.inference.exchange.fleet.catalog.keys.caller(None)
            )
        )
    used = lack_us / bucket.interval_us
    assert line["outcome"] == "client_gone"
    # a second gives a token back
    assert line["completion_tokens"] - 3 <= used <= line["completion_tokens"] + 40


async def test_an_engine_that_fails_costs_nothing(direct: bool) -> None:
    model = {"name": "m", "engine": "vllm", "url": "http://127.0.0.1:9"}
    document = {"models": [model], "plans": plan(requests_per_day=5, tokens_per_day=86_400)}
    async with running(document, direct=direct) as it:
        answers = [await post(it) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [502] * 8
    assert limits_of(answers[-1])["remaining-requests"] == "4"


@pytest.mark.redis
async def test_gateways_share_their_limits_through_redis(redis_server: RedisServer) -> None:
    limits = {"store": "redis", "redis_url": {"value": redis_server.url}}
    shared: dict[str, Any] = {"plans": plan(requests_per_day=9), "limits": limits}
    async with a_gateway(**shared) as one, a_gateway(**shared) as other:
        statuses: list[int] = []

        async def call(it: Running) -> None:
            statuses.append((await post(it)).status_code)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, one if number % 2 else other)
        assert sorted(statuses) == [200] * 9 + [429] * 11
        async with httpx.AsyncClient() as client:
            ready = (await client.get(f"{one.url}/ready")).json()
        assert ready["limits"] == {"store": "redis", "state": "ok"}


@pytest.mark.redis
async def test_a_gateway_whose_redis_is_away_goes_on_and_says_so() -> None:
    limits = {"store": "redis", "redis_url": {"value": "redis://127.0.0.1:9"}}
    async with a_gateway(plans=plan(requests_per_day=3), limits=limits) as it:
        statuses = [(await post(it)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        async with httpx.AsyncClient() as client:
            ready = await client.get(f"{it.url}/ready")
            metrics = (await client.get(f"{it.url}/metrics")).text
    assert ready.status_code == 200
    assert ready.json()["limits"] == {"store": "redis", "state": "local"}
    assert "gateway_limit_store_away 1.0" in metrics


@pytest.mark.redis
async def test_a_gateway_that_may_not_go_unchecked_refuses() -> None:
    limits = {"store": "redis", "redis_url": {"value": "redis://127.0.0.1:9"}}
    limits |= {"on_store_failure": "deny"}
    async with a_gateway(plans=plan(requests_per_day=3), limits=limits) as it:
        answer = await post(it)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "limits_unavailable"
        assert answer.headers["retry-after"] == "1"
        await until(lambda: len(it.log.requests) == 1, 2)
