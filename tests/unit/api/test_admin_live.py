"""The stream is tested over real sockets in tests/integration/test_live.py."""

from typing import Any

import anyio
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.types import Message

from gateway.api import admin_live
from gateway.api.admin_live import MAX_WATCHERS, live_router
from tests.support.asked_app import ask
from tests.support.running import until


class Shown:
    """A `Live` that has a few views and is over then."""

    def __init__(self, views: int = 2) -> None:
        self.left = views

    @property
    def is_over(self) -> bool:
        return self.left == 0

    async def view(self) -> bytes:
        self.left -= 1
        return b'{"n":%d}' % self.left


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_live, "EVERY_S", 0.001)


def a_router(live: Any) -> APIRouter:
    return live_router(live, SecretStr("admin"))


async def test_each_view_is_an_event_until_the_gateway_drains() -> None:
    answer = await ask(a_router(Shown()), path="/admin/live", key="admin")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert answer.text == 'data: {"n":1}\n\ndata: {"n":0}\n\n'


@pytest.mark.parametrize("key", [None, "other", ""])
async def test_only_the_admin_key_opens_it(key: str | None) -> None:
    answer = await ask(a_router(Shown()), path="/admin/live", key=key)
    assert answer.status_code == 401
    assert "data:" not in answer.text


async def request(router: APIRouter, receive: Any, send: Any) -> None:
    app = FastAPI()
    app.include_router(router)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/admin/live",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer admin")],
    }
    await app(scope, receive, send)


async def test_one_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_live, "_WRITE_STALL_S", 0.02)
    began = False

    async def receive() -> Message:
        nonlocal began
        if not began:
            began = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        await request(a_router(Shown(1000)), receive, send)


async def test_there_is_a_bound_and_those_who_leave_make_room() -> None:
    router = a_router(Shown(10**6))
    leave = anyio.Event()
    started = 0

    class Watcher:
        def __init__(self) -> None:
            self.began = False

        async def receive(self) -> Message:
            if not self.began:
                self.began = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(self, message: Message) -> None:
            nonlocal started
            started += message["type"] == "http.response.start"

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(MAX_WATCHERS):
                watcher = Watcher()
                tasks.start_soon(request, router, watcher.receive, watcher.send)
            await until(lambda: started >= MAX_WATCHERS, 10)
            refused = await ask(router, path="/admin/live", key="admin")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "too_many_watchers"
            assert refused.headers["retry-after"] == "5"
            leave.set()
        started = 0
        watcher = Watcher()
        await request(router, watcher.receive, watcher.send)
        assert started == 1
