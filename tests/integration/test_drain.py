"""What clients see of a gateway that shuts down."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineOptions
from tests.support.leaks import PROMPT
from tests.support.running import Running, a_gateway, until

PATH = "/v1/chat/completions"
SLOW = EngineOptions(models=("sim",), inter_token_s=0.05, inter_token_s_per_running=0.0)
LONG = 2000


def chat(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": "m", "messages": messages, "stream": True, "max_tokens": 12} | more


def interrupt(it: Running) -> None:
    """What a signal does."""
    it.server.handle_exit(signal.SIGTERM, None)


@asynccontextmanager
async def a_stream(it: Running, **more: Any) -> AsyncIterator[AsyncIterator[bytes]]:
    """A streamed call that has begun: what is still to come of it."""
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("POST", it.url + PATH, json=chat(**more)) as answer,
    ):
        assert answer.status_code == 200
        pieces = answer.aiter_bytes()
        await anext(pieces)
        yield pieces


async def the_rest(pieces: AsyncIterator[bytes]) -> bytes:
    with anyio.fail_after(10):
        return b"".join([piece async for piece in pieces])


async def stopped(it: Running) -> None:
    """Wait until nothing listens any more."""
    await until(lambda: it.server.should_exit and not it.server.servers[0].is_serving(), 10)


async def test_a_running_stream_finishes_and_then_the_gateway_stops(direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct) as it:
        async with a_stream(it) as pieces:
            interrupt(it)
            rest = await the_rest(pieces)
        await stopped(it)
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"error"' not in rest
    assert it.log.requests[0]["outcome"] == "ok"
    assert it.log.requests[0]["completion_tokens"] == 12


async def test_an_idle_gateway_stops_at_once() -> None:
    async with a_gateway() as it:
        interrupt(it)
        await stopped(it)


async def test_while_draining_new_calls_are_told_to_go_elsewhere(direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct) as it, a_stream(it, max_tokens=LONG):
        interrupt(it)
        async with httpx.AsyncClient(timeout=5) as client:
            ready = await client.get(it.url + "/ready")
            health = await client.get(it.url + "/health")
            refused = await client.post(it.url + PATH, json=chat())
    assert ready.status_code == 503
    assert ready.json()["reasons"] == ["draining: this gateway is shutting down"]
    assert health.status_code == 200
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["retry-after-ms"] == "1000"
    assert refused.headers["x-request-id"]
    assert refused.json()["error"] == {
        "message": "this gateway is shutting down, try again",
        "type": "server_error",
        "param": None,
        "code": "gateway_draining",
    }


async def test_a_stream_that_outlives_the_grace_ends_in_an_error_event(direct: bool) -> None:
    server = {"drain_grace_s": 0.2}
    async with a_gateway(SLOW, direct=direct, server=server) as it:
        async with a_stream(it, max_tokens=LONG) as pieces:
            interrupt(it)
            rest = await the_rest(pieces)
        await it.settled()
    assert b"[DONE]" not in rest
    *_, last = rest.strip().split(b"\n\n")
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["code"] == "gateway_draining"
    assert error["type"] == "server_error"
    assert it.log.requests[0]["outcome"] == "gateway_error"
    assert it.log.requests[0]["error_code"] == "gateway_draining"


async def test_a_whole_answer_that_outlives_the_grace_is_a_503(direct: bool) -> None:
    server = {"drain_grace_s": 0.2}
    async with a_gateway(SLOW, direct=direct, server=server) as it:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            async with httpx.AsyncClient(timeout=20) as client:
                body = chat(stream=False, max_tokens=LONG)
                answers.append(await client.post(it.url + PATH, json=body))

        async with anyio.create_task_group() as calls:
            calls.start_soon(ask)
            await until(lambda: it.in_flight == 1, within_s=5)
            interrupt(it)
    (answer,) = answers
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "gateway_draining"
    assert answer.headers["retry-after"] == "1"


async def test_a_second_signal_ends_at_once(direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct) as it:
        async with a_stream(it, max_tokens=LONG) as pieces:
            interrupt(it)
            assert not it.server.should_exit
            interrupt(it)
            rest = await the_rest(pieces)
        await stopped(it)
    assert b"[DONE]" not in rest
    assert b"gateway_draining" in rest


async def test_draining_is_logged_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gateway")
    async with a_gateway(SLOW) as it:
        async with a_stream(it) as pieces:
            interrupt(it)
            await the_rest(pieces)
        await stopped(it)
    told = [record for record in caplog.records if record.getMessage() == "draining"]
    assert len(told) == 1
    assert vars(told[0])["in_flight"] == 1
    assert vars(told[0])["grace_s"] == 30
