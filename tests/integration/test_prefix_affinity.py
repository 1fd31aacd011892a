"""Conversations stay where their beginning is cached, whichever gateway process they come to."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.serve import serve_engine
from tests.support.running import FAST, running

Message = dict[str, str]


def a_document(engines: Sequence[SimulatedEngine]) -> dict[str, Any]:
    replicas = [{"url": engine.url} for engine in engines]
    variant = {"engine": "vllm", "served_model": "sim", "replicas": replicas}
    model = {"name": "m", "policy": "prefix-affinity", "variants": [variant]}
    return {"models": [model]}


async def ask(
    client: httpx.AsyncClient, url: str, messages: Sequence[Message], **headers: str
) -> None:
    body: dict[str, Any] = {"model": "m", "messages": messages, "max_tokens": 4}
    answer = await client.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text


def asked(engines: Sequence[SimulatedEngine]) -> list[int]:
    """How many chats each engine has seen."""
    return [sum(seen.path.endswith("/completions") for seen in one.requests) for one in engines]


def conversation(number: int, turns: int) -> list[Message]:
    """So many questions of one, with the answers between."""
    said = [{"role": "system", "content": "be brief"}]
    for turn in range(turns):
        said += [
            {"role": "user", "content": f"{number} asks {turn} " * 50},
            {"role": "assistant", "content": f"{number} hears {turn} " * 50},
        ]
    return said[:-1]


async def test_the_turns_of_a_conversation_meet_one_engine_through_two_gateways() -> None:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(serve_engine(FAST)) for _ in range(3)]
        gateways = [
            await stack.enter_async_context(running(a_document(engines), engines=engines))
            for _ in range(2)
        ]
        client = await stack.enter_async_context(httpx.AsyncClient())
        for number in range(6):
            before = asked(engines)
            for turn in range(1, 5):
                url = gateways[turn % 2].url
                await ask(client, url, conversation(number, turn))
            counts = [now - then for now, then in zip(asked(engines), before, strict=True)]
            assert sorted(counts) == [0, 0, 4]


async def test_a_session_stays_whatever_is_said_in_it() -> None:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(serve_engine(FAST)) for _ in range(3)]
        it = await stack.enter_async_context(running(a_document(engines), engines=engines))
        client = await stack.enter_async_context(httpx.AsyncClient())
        for number in range(8):
            await ask(client, it.url, conversation(number, 1), **{"x-session-id": "s1"})
        assert sorted(asked(engines)) == [0, 0, 8]
