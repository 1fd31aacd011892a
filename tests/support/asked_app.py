"""Ask a FastAPI application without a server."""

from typing import Any

import httpx
from fastapi import APIRouter, FastAPI

from gateway.api.problems import install_problems


async def ask(
    *routers: APIRouter,
    path: str,
    key: str | None = None,
    method: str = "GET",
    **more: Any,
) -> httpx.Response:
    """The answer of an application with these routers; `key` is sent as a bearer token.

    `more` is httpx's, such as `json`.
    """
    app = FastAPI()
    for router in routers:
        app.include_router(router)
    install_problems(app)
    headers = more.pop("headers", {})
    headers |= {} if key is None else {"authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, headers=headers, **more)
