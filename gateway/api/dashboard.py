"""`/dashboard`: the live page, as static files. They hold no data, so they need no key.

What the page shows it asks of `/admin/live`, with the admin key that somebody typed in. Nothing
is loaded from elsewhere, nothing inline may run, no other site may put it into a frame.
"""

import hashlib
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.errors import PathNotFound

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",  # asked again each time, and mostly answered with a 304
}
_PAGE: Final = "index.html"


class _File:
    """One file, read once."""

    def __init__(self, name: str, body: bytes) -> None:
        self.body = body
        self.etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        self.headers = {
            **_HEADERS,
            "content-type": _TYPES[name.rpartition(".")[2]],
            "etag": self.etag,
        }

    def answer(self, request: Request) -> Response:
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        return Response(self.body, headers=self.headers)


def dashboard_router() -> APIRouter:
    """`/dashboard`, and its files below."""
    router = APIRouter(include_in_schema=False)
    folder = files("gateway.api") / "page"
    known = {one.name: _File(one.name, one.read_bytes()) for one in folder.iterdir()}

    @router.api_route("/dashboard", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return known[_PAGE].answer(request)

    @router.get("/dashboard/")
    async def page_with_a_slash() -> Response:
        return RedirectResponse("../dashboard", 308)  # relative: no proxy's prefix gets lost

    @router.api_route("/dashboard/{name}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        found = known.get(name)
        if found is None:
            raise PathNotFound(f"unknown request URL: GET /dashboard/{name}")
        return found.answer(request)

    return router
