import httpx
import pytest
from fastapi import FastAPI

from gateway.api.cors import allow_browsers

PREFLIGHT = {
    "origin": "https://chat.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


async def options(*origins: str) -> httpx.Response:
    app = FastAPI()
    allow_browsers(app, origins)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.options("/v1/chat/completions", headers=PREFLIGHT)


@pytest.mark.parametrize("origin", ["https://chat.example", "*"])
async def test_an_origin_that_is_named_may_call_with_the_sdks_headers(origin: str) -> None:
    answer = await options(origin)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "x-stainless-lang" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origins", [(), ("https://other.example",)])
async def test_any_other_may_not(origins: tuple[str, ...]) -> None:
    assert "access-control-allow-origin" not in (await options(*origins)).headers


async def test_a_page_may_read_what_helps_it() -> None:
    app = FastAPI()
    allow_browsers(app, ["*"])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.get("/", headers={"origin": "https://chat.example"})
    shown = answer.headers["access-control-expose-headers"]
    assert {
        "x-request-id",
        "x-gateway-variant",
        "retry-after",
        "x-ratelimit-remaining-tokens",
    } <= set(shown.split(", "))
