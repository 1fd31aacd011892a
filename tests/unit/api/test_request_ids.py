import re

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response

from gateway.api.request_ids import RequestIds


def an_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(RequestIds)

    @app.get("/plain")
    async def plain() -> None: ...

    @app.get("/own")
    async def own() -> Response:
        return Response(headers={"x-request-id": "own"})

    return app


async def id_of(path: str, headers: dict[str, str]) -> str:
    transport = httpx.ASGITransport(an_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.get(path, headers=headers)
    (shown,) = answer.headers.get_list("x-request-id")
    return str(shown)


async def test_a_sane_id_of_the_client_comes_back() -> None:
    assert await id_of("/plain", {"x-request-id": "job:7_a.b-c"}) == "job:7_a.b-c"


@pytest.mark.parametrize("headers", [{}, {"x-request-id": "not sane"}, {"x-request-id": ""}])
async def test_without_one_it_is_new(headers: dict[str, str]) -> None:
    first, second = await id_of("/plain", headers), await id_of("/nothing", headers)
    assert re.fullmatch(r"req_[0-9a-f]{24}", first)
    assert first != second


async def test_an_id_that_the_application_set_stays() -> None:
    assert await id_of("/own", {"x-request-id": "mine"}) == "own"
