"""What every path below /admin has in common."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Query
from pydantic import Field, SecretStr
from starlette.requests import ClientDisconnect, Request

from gateway.api.admin import MAX_BODY_BYTES, RequestId, _Whole, admin_router
from gateway.config.access import Rates
from gateway.config.base import Section
from gateway.errors import ClientGone
from tests.support.asked_app import ask


class Thing(Section):
    name: str
    limits: Rates = Rates()


class Asked(Section):
    count: Annotated[int, Field(ge=1)] = 1


def a_router(seen: list[object] | None = None, key: str | None = "admin") -> APIRouter:
    router = admin_router(None if key is None else SecretStr(key))
    seen = [] if seen is None else seen

    @router.post("/things")
    async def make(given: Thing, request_id: RequestId) -> dict[str, str]:
        seen.append(given)
        return {"id": request_id}

    @router.get("/things")
    async def show(given: Annotated[Asked, Query()]) -> dict[str, int]:
        return {"count": given.count}

    return router


async def post(seen: list[object] | None = None, **more: object) -> httpx.Response:
    return await ask(a_router(seen), path="/admin/things", method="POST", key="admin", **more)


@pytest.mark.parametrize(
    ("key", "given", "is_right"),
    [
        ("admin", "admin", True),
        ("admin", "other", False),
        ("admin", "admi", False),
        ("admin", "admin2", False),
        ("admin", "", False),
        ("admin", None, False),
        ("", "", False),
        (None, "admin", False),
        (None, None, False),
    ],
)
async def test_the_admin_key_alone_opens_it(
    key: str | None, given: str | None, is_right: bool
) -> None:
    answer = await ask(a_router(key=key), path="/admin/things", key=given)
    assert answer.status_code == (200 if is_right else 401)


async def test_another_scheme_does_not_open_it() -> None:
    headers = {"authorization": "Basic admin"}
    answer = await ask(a_router(), path="/admin/things", headers=headers)
    assert answer.status_code == 401


async def test_whoever_has_no_key_is_not_told_what_is_wrong_with_its_body() -> None:
    answer = await ask(a_router(), path="/admin/things", method="POST", content=b"{")
    assert answer.status_code == 401


async def test_no_answer_may_be_kept() -> None:
    answer = await ask(a_router(), path="/admin/things", key="admin")
    assert answer.headers["cache-control"] == "no-store"


async def test_what_is_asked_for_arrives() -> None:
    seen: list[object] = []
    body = {"name": "n", "limits": {"tokens_per_minute": None}}
    assert (await post(seen, json=body)).status_code == 200
    (thing,) = seen
    assert isinstance(thing, Thing)
    assert thing.limits.model_fields_set == {"tokens_per_minute"}


async def test_the_answer_has_the_id_of_the_request() -> None:
    given = await post(json={"name": "n"}, headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == given.json()["id"] == "mine-1"
    made = await post(json={"name": "n"})
    assert made.headers["x-request-id"] == made.json()["id"]
    assert made.json()["id"].startswith("req_")


@pytest.mark.parametrize(
    ("more", "status", "param", "message"),
    [
        ({"json": {}}, 400, "name", "name: required"),
        ({}, 400, None, "the body: required"),
        ({"json": []}, 400, None, "the body: must be a valid dictionary"),
        ({"json": {"name": "n", "nam": 1}}, 400, "nam", "nam: unknown field"),
        ({"json": {"name": 5}}, 400, "name", "name: must be a valid string"),
        (
            {"json": {"name": "n", "limits": {"tokens_per_minute": True}}},
            400,
            "limits.tokens_per_minute",
            "limits.tokens_per_minute: must be a number, not yes or no",
        ),
        (
            {"json": {"name": "n", "limits": {"burst": {"x": 1}}}},
            400,
            "limits.burst.x",
            "limits.burst.x: unknown field",
        ),
        (
            {"content": b"{", "headers": {"content-type": "application/json; charset=utf-8"}},
            400,
            None,
            "the body is not valid JSON",
        ),
        ({"content": b"name=n"}, 415, None, "the content-type must be application/json"),
        (
            {"content": b'"' + b"x" * MAX_BODY_BYTES + b'"'},
            413,
            None,
            "the body is larger than 64 KiB",
        ),
    ],
)
async def test_what_is_wrong_is_told_with_its_field(
    more: dict[str, object], status: int, param: str | None, message: str
) -> None:
    seen: list[object] = []
    answer = await post(seen, **more)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["message"].startswith(message)
    assert not seen


@pytest.mark.parametrize(
    ("query", "param", "message"),
    [
        ("count=0", "count", "count: must be greater than or equal to 1"),
        ("cuont=1", "cuont", "cuont: unknown field"),
        ("count=x", "count", "count: must be a valid integer"),
    ],
)
async def test_a_wrong_query_is_told_like_a_body(query: str, param: str, message: str) -> None:
    answer = await ask(a_router(), path=f"/admin/things?{query}", key="admin")
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["message"].startswith(message)


async def test_a_client_that_leaves_is_no_bug_of_ours() -> None:
    async def leave() -> AsyncIterator[bytes]:
        yield b"{"
        raise ClientDisconnect

    class Left(_Whole):
        stream = staticmethod(leave)  # type: ignore[assignment]  # what it yields is the same

    request = Request({"type": "http", "headers": []})
    with pytest.raises(ClientGone):
        await Left(request.scope).read()
