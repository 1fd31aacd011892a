"""What became of a call: in its answer's head, and for an operator who asks later."""

import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_workers import alone, two_workers, workers_of
from tests.support.leaks import PROMPT
from tests.support.otlp_receiver import http_receiver
from tests.support.running import FAST, Running, a_gateway

PATH = "/v1/chat/completions"
ADMIN = {"authorization": "Bearer admin"}
TIMED: dict[str, Any] = {"plans": [{"name": "default", "server_timing": True}]}


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 6} | more


async def post(it: Running, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(it.url + PATH, json=chat(**more))
    await it.settled()
    return answer


async def story(it: Running, request_id: str) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=20, headers=ADMIN) as client:
        answer = await client.get(f"{it.url}/admin/requests/{request_id}")
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["requests"]
    assert isinstance(told, dict)
    return told


def timings(answer: httpx.Response) -> dict[str, float]:
    given = answer.headers["server-timing"]
    assert re.fullmatch(r"\w+;dur=[0-9.e+-]+(, \w+;dur=[0-9.e+-]+)*", given)
    pairs = (one.split(";dur=") for one in given.split(", "))
    return {name: float(ms) for name, ms in pairs}


@pytest.mark.parametrize(
    ("stream", "names"),
    [
        (True, ["queue", "route", "connect", "first_token"]),
        (False, ["queue", "route", "connect", "answer"]),
    ],
)
async def test_an_answer_says_where_its_time_went_where_the_plan_wants_it(
    stream: bool, names: list[str], direct: bool
) -> None:
    async with a_gateway(direct=direct, **TIMED) as it:
        answer = await post(it, stream=stream)
        line = it.log.requests[-1]
    told = timings(answer)
    assert list(told) == names
    assert sum(told.values()) <= line["duration_ms"] + 1
    if stream:
        assert sum(told.values()) == pytest.approx(line["ttft_ms"], abs=1)


async def test_nobody_else_is_told() -> None:
    async with a_gateway() as it:
        assert "server-timing" not in (await post(it)).headers
        assert "server-timing" not in (await post(it, stream=True)).headers


async def test_failures_are_timed_too() -> None:
    async with a_gateway(**TIMED) as it:
        it.engine.inject("status=500")
        answer = await post(it)
        assert answer.status_code == 502
        assert list(timings(answer)) == ["queue", "route", "connect", "answer"]


async def test_an_operator_sees_every_try_and_why_it_failed(direct: bool) -> None:
    environ = {"GATEWAY_ADMIN_KEY": "admin"}
    async with a_gateway(FAST, FAST, direct=direct, environ=environ) as it:
        first = min(it.gateway.inference.exchange.fleet, key=lambda state: state.turns)
        it.engines[int(first.name[1:])].inject("status=500")
        answer = await post(it, stream=True)
        told = await story(it, answer.headers["x-request-id"])
    failed, answered = told["tries"]
    assert (failed["replica"], failed["error_code"]) == (first.name, "engine_error")
    assert failed["error"]
    assert (answered["kind"], answered["replica"]) == ("retry", told["replica"])
    assert answered["first_token_ms"] > 0
    parts = told["parts"]
    assert parts["retries_ms"] > 0
    assert sum(parts.values()) == pytest.approx(told["duration_ms"], abs=0.1)
    assert told["longest"] in {name.removesuffix("_ms") for name in parts}


async def test_a_story_names_its_trace() -> None:
    with http_receiver() as collector:
        telemetry = {"otlp_endpoint": collector.url}
        async with a_gateway(environ={"GATEWAY_ADMIN_KEY": "admin"}, telemetry=telemetry) as it:
            answer = await post(it)
            await collector.has(3)
            told = await story(it, answer.headers["x-request-id"])
    (client,) = collector.of_kind("client")
    assert told["trace_id"] == client.trace_id
    assert told["tries"][0]["span_id"] == client.span_id


async def test_what_is_not_to_be_remembered_is_not(direct: bool) -> None:
    environ = {"GATEWAY_ADMIN_KEY": "admin"}
    async with a_gateway(direct=direct, environ=environ, telemetry={"recent_requests": 0}) as it:
        answer = await post(it)
        async with httpx.AsyncClient(timeout=20, headers=ADMIN) as client:
            url = f"{it.url}/admin/requests/{answer.headers['x-request-id']}"
            assert (await client.get(url)).status_code == 404


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
@pytest.mark.timeout(120)
async def test_whichever_worker_is_asked_knows_the_calls_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "admin")
    async with two_workers(tmp_path) as it:
        ids = []
        for pid in workers_of(it):
            async with alone(it, pid):
                ids.append((await it.post()).headers["x-request-id"])
        for pid in workers_of(it):
            async with alone(it, pid), httpx.AsyncClient(timeout=20, headers=ADMIN) as client:
                for request_id in ids:
                    answer = await client.get(f"{it.url}/admin/requests/{request_id}")
                    assert answer.json()["requests"][0]["request_id"] == request_id
                listed = (await client.get(f"{it.url}/admin/requests")).json()["requests"]
                assert {one["request_id"] for one in listed} >= set(ids)
