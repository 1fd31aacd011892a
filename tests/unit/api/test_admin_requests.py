from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from gateway.api.admin_requests import requests_router
from gateway.telemetry.recent import Recent
from gateway.telemetry.request_line import RequestLine
from gateway.telemetry.told_story import StoryTold, TryTold
from tests.support.asked_app import ask

HEADERS = {"authorization": "Bearer admin"}


def remembered(*calls: tuple[str, float, StoryTold | None], **more: Any) -> Recent:
    recent = Recent.alone(10)
    for number, (request_id, took_ms, story) in enumerate(calls):
        line = RequestLine(
            float(number), "info", "request", request_id, "chat", True, 1, "ok", 200, took_ms, 9
        )
        line = msgspec.structs.replace(line, caller=f"team{number}", model="m", **more)
        recent.add(line, msgspec.json.encode(line), story or StoryTold())
    return recent


async def get(recent: Recent | None, path: str, **headers: str) -> Any:
    router = requests_router(recent, SecretStr("admin"))
    return await ask(router, path=f"/admin/requests{path}", headers=headers or HEADERS)


async def test_the_story_of_a_call_says_where_its_time_went() -> None:
    tries = [
        TryTold("r0", "m", "first", 2.0, 40.0, 1.0, error_code="engine_error", error="broke"),
        TryTold("r1", "m", "retry", 60.0, 400.123456, 0.0, 340.0, span_id="ab"),
    ]
    recent = remembered(("one", 460.0, StoryTold(tries, 1.0)))
    answer = await get(recent, "/one")
    assert answer.headers["cache-control"] == "no-store"
    (told,) = answer.json()["requests"]
    assert told["request_id"] == "one"
    assert told["parts"] == {
        "queue_ms": 1.0,
        "route_ms": 1.0,
        "retries_ms": 58.0,
        "connect_ms": 0.0,
        "first_token_ms": 340.0,
        "stream_ms": 60.0,
    }
    assert told["longest"] == "first_token"
    failed, answered = told["tries"]
    assert (failed["error_code"], failed["error"]) == ("engine_error", "broke")
    assert (answered["kind"], answered["took_ms"], answered["span_id"]) == ("retry", 400.123, "ab")
    assert told["tries_left_out"] == 0
    assert "level" not in told


async def test_an_id_that_came_twice_shows_both_the_newest_first() -> None:
    recent = remembered(("same", 1.0, None), ("other", 1.0, None), ("same", 2.0, None))
    told = (await get(recent, "/same")).json()["requests"]
    assert [one["duration_ms"] for one in told] == [2.0, 1.0]


async def test_recent_calls_are_listed_the_newest_or_the_slowest_first() -> None:
    recent = remembered(("a", 5.0, None), ("b", 900.0, None), ("c", 30.0, None))

    async def ids(query: str) -> list[str]:
        return [one["request_id"] for one in (await get(recent, query)).json()["requests"]]

    assert await ids("") == ["c", "b", "a"]
    assert await ids("?order=slowest&limit=2") == ["b", "c"]
    assert await ids("?caller=team1") == ["b"]
    assert await ids("?model=m&outcome=ok") == ["c", "b", "a"]
    assert await ids("?outcome=engine_error") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [("/none", 404), ("/a%20b", 400), ("?limit=0", 400), ("?limit=1001", 400), ("?wrong=1", 400)],
)
async def test_what_cannot_be_found_or_read_is_said(path: str, status: int) -> None:
    answer = await get(remembered(("a", 1.0, None)), path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_where_nothing_is_remembered_nothing_is_found() -> None:
    assert (await get(None, "")).json() == {"requests": []}
    answer = await get(None, "/id")
    assert answer.status_code == 404
    assert "telemetry.recent_requests" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["", "/a"])
async def test_only_the_admin_key_opens_it(path: str) -> None:
    answer = await get(remembered(("a", 1.0, None)), path, authorization="Bearer other")
    assert answer.status_code == 401
