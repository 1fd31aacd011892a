"""`/admin/live` of gateways that serve, and `gateway top`, which reads it."""

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from gateway.live.view import View
from tests.support.admin import KEY
from tests.support.child import a_child, children_of
from tests.support.running import a_gateway, until
from tests.support.served import PATH, chat, served

pytestmark = pytest.mark.timeout(120)
ENVIRON = {"GATEWAY_ADMIN_KEY": KEY}


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[AsyncIterator[View]]:
    """The views that a watcher gets."""
    async with (
        httpx.AsyncClient(timeout=20, headers={"authorization": f"Bearer {KEY}"}) as client,
        client.stream("GET", f"{url}/admin/live") as answer,
    ):
        assert answer.status_code == 200
        yield _views(answer)


async def _views(answer: httpx.Response) -> AsyncIterator[View]:
    async for line in answer.aiter_lines():
        if line:
            yield msgspec.json.decode(line.removeprefix("data: "), type=View)


async def call(url: str, times: int = 1, **more: Any) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        for _ in range(times):
            answer = await client.post(url + PATH, json=chat(stream=True, **more))
            assert answer.status_code in (200, 404)


async def test_calls_show_up_as_rates_latencies_and_failures(direct: bool) -> None:
    async with a_gateway(environ=ENVIRON, direct=direct) as it, watched(it.url) as views:
        with anyio.fail_after(20):
            first = await anext(views)
            assert first.total is None
            await call(it.url, 5)
            await call(it.url, model="nobody")
            async for view in views:
                if view.total and view.total.requests_per_s and view.failures:
                    break
    assert view.window_s
    assert view.total
    assert view.total.requests_per_s * view.window_s == pytest.approx(6, abs=0.1)
    assert view.total.refused_per_s > 0
    assert view.total.output_tokens_per_s > 0
    assert view.total.ttft
    assert view.total.inter_token
    assert view.total.ttft.count == 5
    (model,) = view.models
    assert model.traffic
    assert model.traffic.requests_per_s * view.window_s == pytest.approx(5, abs=0.1)
    replica = model.variants[0].replicas[0]
    assert (replica.condition, replica.usable, replica.usable_by) == ("ready", True, 1)
    (failure,) = view.failures
    assert (failure.status, failure.error_code) == (404, "model_not_found")
    assert failure.request_id == it.log.requests[-1]["request_id"]


async def test_a_watcher_does_not_hold_up_the_end_of_the_gateway(direct: bool) -> None:
    async with a_gateway(environ=ENVIRON, direct=direct) as it, watched(it.url) as views:
        await anext(views)
        it.server.handle_exit(signal.SIGTERM, None)
        with anyio.fail_after(10):
            async for _ in views:
                pass
            await until(lambda: it.server.should_exit, 10)


async def test_nobody_who_watches_leaves_no_task_behind(direct: bool) -> None:
    async with a_gateway(environ=ENVIRON, direct=direct) as it:
        for _ in range(3):
            async with watched(it.url) as views:
                await anext(views)
        await until(lambda: not it.server.server_state.tasks, 10)


async def test_callers_keys_do_not_open_it() -> None:
    keys = [{"name": "team", "secret": {"value": "sk-team"}}]
    async with a_gateway(environ=ENVIRON, keys=keys) as it, httpx.AsyncClient() as client:
        for given in ("sk-team", "none", KEY + "x"):
            headers = {"authorization": f"Bearer {given}"}
            answer = await client.get(f"{it.url}/admin/live", headers=headers)
            assert answer.status_code == 401
        answer = await client.get(f"{it.url}/admin/live?key={KEY}")
        assert answer.status_code == 401


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
async def test_the_view_is_of_all_workers_whoever_answers(tmp_path: Path) -> None:
    async with served(tmp_path, "--workers", "2", environ=ENVIRON) as it:
        await until(lambda: len(children_of(it.child.process.pid)) == 2, 20)
        async with watched(it.url) as views:
            with anyio.fail_after(40):
                async for view in views:
                    if view.workers == 2:
                        break
                calls = 12
                for _ in range(calls):  # each over a connection of its own: any worker takes it
                    await call(it.url)
                async for view in views:
                    traffic = view.total
                    if traffic and view.window_s and traffic.requests_per_s:
                        break
                assert view.models[0].variants[0].replicas[0].usable_by == 2
                most = 0.0
                async for view in views:
                    if view.total and view.window_s:
                        most = max(most, view.total.requests_per_s * view.window_s)
                    if most > calls - 0.5:
                        break


async def test_top_prints_what_the_page_shows() -> None:
    async with a_gateway(environ=ENVIRON) as it:
        await call(it.url, 2)
        async with a_child("top", "--once", "--url", it.url, environ=ENVIRON) as child:
            assert await child.ended() == 0
        assert b" ready " in child.out
        assert b"req/s" in child.out
        async with a_child("top", "--once", "--json", "--url", it.url, environ=ENVIRON) as child:
            assert await child.ended() == 0
        assert json.loads(child.out)["window_s"] > 0
        wrong = {"GATEWAY_ADMIN_KEY": "other"}
        async with a_child("top", "--once", "--url", it.url, environ=wrong) as child:
            assert await child.ended() == 2
        assert "admin key" in child.said


async def test_a_gateway_that_is_not_there_is_one_sentence() -> None:
    async with a_child("top", "--url", "http://127.0.0.1:9", environ=ENVIRON) as child:
        assert await child.ended() == 1
    assert child.said.count("\n") == 1
    assert "cannot reach the gateway" in child.said
