import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.loadtest.prepare import Prepared, prepare
from gateway.loadtest.requests import Asking
from gateway.remote.address import headers_of, origin_of
from gateway.remote.endpoint import Endpoint
from gateway.remote.models import NotReady
from tests.support.scripted_server import Peer, serving
from tests.support.simulated import Simulated, an_engine

pytestmark = pytest.mark.integration


@asynccontextmanager
async def reaching(engine: Simulated, fault: str = "") -> AsyncIterator[Endpoint]:
    headers = headers_of(None, [f"x-simulate-fault: {fault}"] if fault else [])
    async with Endpoint(origin_of(engine.engine.url), headers, timeout_s=5) as endpoint:
        yield endpoint


async def prepared(fault: str = "") -> Prepared:
    async with an_engine() as engine, reaching(engine, fault) as endpoint:
        return await prepare(endpoint, Asking("sim"), random.Random(1))


async def refusal(fault: str = "", model: str = "sim", **options: Any) -> str:
    async with an_engine(**options) as engine, reaching(engine, fault) as endpoint:
        with pytest.raises(NotReady) as refused:
            await prepare(endpoint, Asking(model), random.Random(1))
    return str(refused.value)


async def test_the_scale_of_words_is_measured() -> None:
    found = await prepared()
    assert found.scale.is_measured
    assert 0.8 < found.scale.tokens_per_word < 2
    assert found.scale.overhead_tokens > 0
    assert found.notes == ()


async def test_without_usage_a_word_is_a_token_and_that_is_told() -> None:
    found = await prepared("usage=missing")
    assert not found.scale.is_measured
    assert "no usage" in found.notes[0]


async def test_what_stands_in_the_way_is_told_with_advice() -> None:
    assert "--api-key-env" in await refusal(api_key="sesame")
    assert "check the URL and the model's name" in await refusal(model="other")
    assert (await refusal("status=503")).startswith("a first question failed: 503")


async def test_a_field_that_is_refused_is_left_out() -> None:
    """OpenAI refuses unknown fields; then answers are as long as they like."""

    async def picky(peer: Peer) -> None:
        while True:
            received = await peer.request()
            if b"ignore_eos" in received.body:
                body = b'{"error": {"message": "unrecognized: ignore_eos", "code": null}}'
                await peer.send(
                    b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n" % len(body), body
                )
                continue
            event = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'
            head = (
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
            )
            await peer.send(head % len(event), event)

    async with serving(picky) as server, Endpoint(server.origin, ()) as endpoint:
        found = await prepare(endpoint, Asking("m", ignores_end=True), random.Random(1))
    assert not found.asking.ignores_end
    assert "ignore_eos" in found.notes[0]
