"""A stream survives the death of its engine: real sockets, every way an engine can break."""

import json
import random
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineKind, EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.counted import counted
from tests.support.lossy_proxy import a_lossy_proxy
from tests.support.running import FAST, Running, a_gateway, running, until

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USAGE = {"include_usage": True}
UNICODE = replace(FAST, unicode=True)


def asked(**more: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "prompt": "Hello",
        "stream": True,
        "stream_options": USAGE,
        "max_tokens": 40,
        "temperature": 0,
    } | more


async def post(it: Running, path: str = CHAT, **more: Any) -> bytes:
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(it.url + path, json=asked(**more))
        assert answer.status_code == 200
    await it.settled()
    return answer.content


def chunks(body: bytes) -> list[dict[str, Any]]:
    events = body.split(b"\n\n")
    return [json.loads(event[6:]) for event in events if event.startswith(b"data: {")]


def text(body: bytes) -> str:
    choices = [choice for chunk in chunks(body) for choice in chunk.get("choices", ())]
    said = [choice.get("delta", choice) for choice in choices]
    return "".join(one.get("content") or one.get("text") or "" for one in said)


def inject(it: Running, fault: str, *, count: int = 1) -> None:
    """Every engine has the fault for its next requests."""
    for engine in it.engines:
        engine.inject(fault, count=count)


async def broken(it: Running, fault: str, path: str = CHAT, **more: Any) -> bytes:
    """An answer whose first engine has this fault; the others are well."""
    first = min(it.gateway.inference.exchange.fleet, key=lambda state: state.turns)
    number = int(first.name[1:])
    it.engines[number].inject(fault, count=1)
    return await post(it, path, **more)


BREAKS = (
    "reset-after=5",
    "truncate-after=5",
    "abort-after=5",
    "error-event-after=5;code=500",
    "cut-at-byte=1700",
    "stall-after=5",
)


@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("kind", ["vllm", "tgi", "llamacpp"])
async def test_the_answer_is_the_undisturbed_one(
    fault: str, kind: EngineKind, direct: bool
) -> None:
    options = replace(UNICODE, engine=kind, unicode=kind == "vllm")
    if kind == "tgi" and fault.startswith("error-event"):
        fault = "error-event-after=5;code=503"
    async with a_gateway(
        options, options, direct=direct, model={"timeouts": {"idle_s": 0.3}}
    ) as it:
        wanted = await post(it)
        body = await broken(it, fault)
        line = it.log.requests[-1]
        went = counted(it.gateway.inference.exchange._books._metrics, "gateway_resumes", "outcome")
    assert text(body) == text(wanted)
    assert body.endswith(b"data: [DONE]\n\n")
    assert (line["outcome"], line["attempts"], line["resumes"]) == ("ok", 2, 1)
    assert went == {"chat_ids" if kind == "vllm" else "text": 1}
    seen = chunks(body)
    assert len({chunk["id"] for chunk in seen}) == 1
    assert sum(b'"role"' in event for event in body.split(b"\n\n")) == 1
    assert seen[-1]["usage"]["total_tokens"] == chunks(wanted)[-1]["usage"]["total_tokens"]
    if kind != "tgi":
        assert seen[-1]["usage"]["completion_tokens"] == 40


@pytest.mark.parametrize("kind", ["vllm", "tgi", "llamacpp"])
async def test_a_plain_completion_goes_on_too(kind: EngineKind, direct: bool) -> None:
    options = replace(FAST, engine=kind)
    async with a_gateway(options, options, direct=direct) as it:
        wanted = await post(it, COMPLETIONS)
        body = await broken(it, "reset-after=7", COMPLETIONS)
        assert it.log.requests[-1]["resumes"] == 1
    assert text(body)[:150] == text(wanted)[:150]
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("slow", "resumes"),
    [(replace(UNICODE, inter_token_s=0.2), 1), (replace(UNICODE, prefill_s_per_token=0.5), None)],
    ids=["begun", "queued"],
)
async def test_an_engine_that_shuts_down_in_silence_is_not_waited_for(
    slow: EngineOptions, resumes: int | None
) -> None:
    """No timeout is near: it is the probes that find nobody there."""
    async with serve_engine(slow) as dying, serve_engine(UNICODE) as other:
        port = httpx.URL(dying.url).port or 0
        async with a_lossy_proxy(port) as proxy:
            variant = {
                "engine": "vllm",
                "served_model": dying.options.models[0],
                "replicas": [{"url": f"http://127.0.0.1:{proxy.port}"}, {"url": other.url}],
            }
            waits = {"unreachable_s": 0.3}
            models = [{"name": "m", "variants": [variant], "timeouts": waits}]
            async with running({"models": models}) as it:
                first, second = it.gateway.inference.exchange.fleet
                first.turns = 10
                wanted = await post(it)
                second.turns = 20
                async with anyio.create_task_group() as tasks:

                    async def shut_down() -> None:
                        said = 2000 if resumes else 0
                        await until(lambda: len(proxy.passed) > said, within_s=5)
                        await proxy.fall_silent()

                    tasks.start_soon(shut_down)
                    body = await post(it)
            line = it.log.requests[-1]
    assert text(body) == text(wanted)
    assert body.endswith(b"data: [DONE]\n\n")
    assert (line["outcome"], line["attempts"], line.get("resumes")) == ("ok", 2, resumes)


async def test_it_survives_two_deaths_and_not_three(direct: bool) -> None:
    async with a_gateway(UNICODE, UNICODE, UNICODE, UNICODE, direct=direct) as it:
        wanted = await post(it, max_tokens=60)
        for engine in it.engines[:3]:
            engine.inject("reset-after=9", count=1)
        states = {state.name: state for state in it.gateway.inference.exchange.fleet}
        states["r3"].turns += 10  # asked last
        dead = await post(it, max_tokens=60)
        assert it.log.requests[-1]["resume_refused"] == "spent"
        for engine in it.engines:
            engine.clear_faults()
        for engine in it.engines[:2]:
            engine.inject("reset-after=9", count=1)
        states["r2"].turns += 10
        body = await post(it, max_tokens=60)
        assert it.log.requests[-1]["resumes"] == 2
    assert text(body) == text(wanted)
    assert b"[DONE]" not in dead
    error = chunks(dead)[-1]["error"]
    assert error["code"] == "stream_broken"
    assert text(wanted).startswith(text(dead))


async def test_an_engine_that_refuses_the_rest_does_not_show(direct: bool) -> None:
    async with a_gateway(FAST, FAST, direct=direct) as it:
        first = min(it.gateway.inference.exchange.fleet, key=lambda state: state.turns)
        for engine, fault in zip(it.engines, ("reset-after=5", "status=400"), strict=True):
            engine.inject(fault, count=1)
        if first.name != "r0":
            first.turns += 5
        body = await post(it)
        line = it.log.requests[-1]
    assert line["outcome"] == "ok"
    assert line["resumes"] == 2
    assert body.endswith(b"[DONE]\n\n")


async def test_plain_endpoints_go_on_too(direct: bool) -> None:
    async with a_gateway(UNICODE, UNICODE, direct=direct) as it:
        body = {"message": "Hello", "max_tokens": 30}
        async with httpx.AsyncClient(timeout=20) as client:
            wanted = await client.post(it.url + "/chat/stream", json=body)
            inject(it, "reset-after=6")
            it.engines[0].clear_faults()
            states = list(it.gateway.inference.exchange.fleet)
            states[0].turns += 5
            resumed = await client.post(it.url + "/chat/stream", json=body)
        await it.settled()
        assert it.log.requests[-1]["resumes"] == 1
    assert said(resumed.content) == said(wanted.content)


def said(body: bytes) -> str:
    return "".join(chunk["response"] for chunk in chunks(body))


async def test_many_streams_survive_a_dying_engine(direct: bool) -> None:
    """Engines that break one request in three, at any byte, under fifty streams at once."""
    rng = random.Random(0)
    async with a_gateway(UNICODE, UNICODE, UNICODE, direct=direct) as it:
        wanted = text(await post(it))
        for engine in it.engines:
            for _ in range(6):
                engine.inject(f"cut-at-byte={rng.randrange(9000)}", count=1)
        bodies: list[bytes] = []

        async def one() -> None:
            async with httpx.AsyncClient(timeout=20) as client:
                bodies.append((await client.post(it.url + CHAT, json=asked())).content)

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(one)
        await it.settled()
    whole = [body for body in bodies if body.endswith(b"data: [DONE]\n\n")]
    assert {text(body) for body in whole} == {wanted}
    # three engines, each with six breaks to give: one stream may meet three of them
    assert len(whole) >= 48


async def test_a_slow_client_slows_the_second_engine_as_well(direct: bool) -> None:
    options = EngineOptions(
        models=("sim",),
        inter_token_s=0.001,
        inter_token_s_per_running=0.0,
        prefill_s_per_token=0.0,
        max_model_len=100_000,
    )
    async with a_gateway(options, options, direct=direct) as it:
        wanted = text(await post(it, max_tokens=800))
        first = min(it.gateway.inference.exchange.fleet, key=lambda state: state.turns)
        it.engines[int(first.name[1:])].inject("reset-after=300", count=1)
        got = b""
        async with (
            httpx.AsyncClient(timeout=20) as client,
            client.stream("POST", it.url + CHAT, json=asked(max_tokens=800)) as answer,
        ):
            async for piece in answer.aiter_raw(4096):
                got += piece
                await anyio.sleep(0.002)
        await it.settled()
        assert it.log.requests[-1]["resumes"] == 1
    assert text(got) == wanted
