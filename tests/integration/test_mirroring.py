"""A shadow beside a model, on real sockets: what clients see, and what is told of both answers."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.admin import KEY, Admin
from tests.support.counted import counted
from tests.support.ports import free_port
from tests.support.running import FAST, Running, running, until

PATH = "/v1/chat/completions"
SAME = FAST
OTHER = replace(FAST, seed=7)


@dataclass(slots=True)
class Mirrored:
    """A gateway whose model `m` is mirrored to `s`."""

    it: Running
    shadow: SimulatedEngine

    async def call(self, **more: Any) -> httpx.Response:
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 12,
            "temperature": 0,
        }
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.post(self.it.url + PATH, json=body | more)

    @property
    def held(self) -> int:
        return self.it.gateway.mirroring.held

    async def over(self) -> None:
        """Wait until every shadow is over."""
        await until(lambda: not self.held, within_s=20)

    def counted(self, name: str, by: str) -> dict[str, float]:
        return counted(self.it.gateway.books._metrics, f"gateway_mirror_{name}", by)


@asynccontextmanager
async def mirrored(
    shadow: EngineOptions = SAME, url: str | None = None, **mirror: Any
) -> AsyncIterator[Mirrored]:
    """`url`: where the shadow is said to be, if not where it is."""
    rules = {"to": "s", "sample": 1} | mirror
    async with serve_engine(FAST) as first, serve_engine(shadow) as second:
        of_s = {"name": "s", "engine": "vllm", "served_model": "sim", "url": url or second.url}
        of_m = {"name": "m", "engine": "vllm", "served_model": "sim", "url": first.url}
        document = {"models": [of_m | {"mirror": rules}, of_s]}
        environ = {"GATEWAY_ADMIN_KEY": KEY}
        async with running(document, [first, second], environ=environ) as it:
            yield Mirrored(it, second)


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_equal_engines_agree_and_others_are_found_to_differ(stream: bool) -> None:
    async with mirrored(SAME) as equal:
        await equal.call(stream=stream)
        await equal.over()
        assert equal.counted("calls", "outcome") == {"compared": 1}
        assert equal.counted("answers", "text") == {"same": 1}
    async with mirrored(OTHER) as different:
        await different.call(stream=stream)
        await different.over()
        assert different.counted("answers", "text") == {"different": 1}
        assert different.counted("answers", "finish") == {"same": 1}
        assert different.counted("answers", "sampling") == {"greedy": 1}
        told = (await Admin(different.it).ask("GET", "/mirror")).json()["comparisons"]
    (one,) = told
    assert (one["model"], one["shadow"], one["same"], one["stream"]) == ("m", "s", False, stream)
    assert 0 <= one["common_prefix_ratio"] < 1
    client, shadow = one["answers"]["client"], one["answers"]["shadow"]
    assert client["completion_tokens"] == shadow["completion_tokens"] == 12
    assert ("ttft_ms" in shadow) is stream
    assert "text" not in client


async def test_the_metrics_are_shown() -> None:
    async with mirrored(OTHER) as it:
        await it.call(stream=True)
        await it.over()
        async with httpx.AsyncClient(timeout=20) as client:
            shown = (await client.get(it.it.url + "/metrics")).text
    for name in ("agreement_ratio", "length_ratio", "duration_seconds"):
        assert f"gateway_mirror_{name}_count{{" in shown
    assert 'gateway_mirror_time_to_first_token_seconds_count{model="m",shadow="s",side="shad' in (
        shown
    )


@pytest.mark.parametrize("fault", ["status=500", "reset-before-headers", "stall-before-headers"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_shadow_that_fails_or_hangs_changes_nothing_for_the_client(
    fault: str, stream: bool
) -> None:
    async with mirrored(SAME, timeout_s=0.5) as it:
        expected = (await it.call(stream=stream)).content
        await it.over()
        it.shadow.inject(fault)
        answer = await it.call(stream=stream)  # comes while the shadow hangs
        assert said(answer.content, stream) == said(expected, stream)
        await it.over()
        outcomes = it.counted("calls", "outcome")
        assert outcomes == {"compared": 1, "timeout" if "stall" in fault else "failed": 1}
        assert it.it.in_flight == 0
        requests = counted(it.it.gateway.books._metrics, "gateway_requests", "model")
        assert requests == {"m": 2}
    assert [line["outcome"] for line in it.it.log.requests] == ["ok", "ok"]
    assert {line["model"] for line in it.it.log.requests} == {"m"}


def said(body: bytes, stream: bool) -> list[Any]:
    """The choices of an answer."""
    if not stream:
        return [json.loads(body)["choices"]]
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(event)["choices"] for event in events]


async def test_a_shadow_that_is_not_there_is_skipped() -> None:
    async with mirrored(url=f"http://127.0.0.1:{free_port()}") as it:
        assert text_of(await it.call())
        await it.over()
        assert it.counted("skipped", "reason") == {"unhealthy": 1}


async def test_no_more_than_so_many_are_held() -> None:
    async with mirrored(SAME, max_in_flight=2, timeout_s=60) as it:
        it.shadow.inject("stall-before-headers")
        for _ in range(5):
            assert text_of(await it.call())
        assert it.held == 2
        assert it.counted("skipped", "reason") == {"full": 3}


async def test_a_gateway_that_drains_waits_for_no_shadow() -> None:
    async with mirrored(SAME, timeout_s=600) as it:
        it.shadow.inject("stall-before-headers")
        assert text_of(await it.call())
        await until(lambda: bool(it.shadow.requests), within_s=10)
        it.it.server.handle_exit(signal.SIGTERM, None)
        await it.over()
        with anyio.fail_after(20):
            await until(lambda: not it.it.server.servers[0].is_serving(), 20)
        assert it.counted("calls", "outcome") == {"cancelled": 1}
        assert it.it.in_flight == 0


async def test_a_caller_is_charged_once() -> None:
    secret = "sk-team"
    plans = [{"name": "p", "requests_per_minute": 100, "tokens_per_minute": 100_000}]
    async with serve_engine(FAST) as first, serve_engine(SAME) as second:
        models = [
            {"name": name, "engine": "vllm", "served_model": "sim", "url": one.url}
            for name, one in (("m", first), ("s", second))
        ]
        models[0] |= {"mirror": {"to": "s", "sample": 1}}  # type: ignore[dict-item]
        keys = [{"name": "team", "plan": "p", "secret": {"value": secret}}]
        document = {"models": models, "plans": plans, "keys": keys}
        async with running(document, [first, second]) as it:
            left = []
            headers = {"authorization": f"Bearer {secret}"}
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
            async with httpx.AsyncClient(timeout=20, headers=headers) as client:
                for _ in range(2):
                    answer = await client.post(it.url + PATH, json=body)
                    left.append(int(answer.headers["x-ratelimit-remaining-requests"]))
                    await until(lambda: not it.gateway.mirroring.held, within_s=20)
            assert len(second.requests) == 2
            assert left[0] - left[1] <= 1
