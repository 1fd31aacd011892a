"""Errors of the FastAPI side in OpenAI's words: unknown paths, wrong methods, bugs.

The inference endpoints tell their own failures through their dialect.
"""

import logging
import uuid

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    PathNotFound,
)
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.wire.error_body import error_body, error_headers

log = logging.getLogger(__name__)


def problem(error: GatewayError) -> Response:
    """A response that tells this failure."""
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error_body(error), error.status, headers=headers, media_type="application/json")


def install_problems(app: FastAPI) -> None:
    """Make every failure of `app` speak OpenAI's error body."""
    app.add_exception_handler(GatewayError, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Bugs)


class Bugs:
    """ASGI middleware: a bug is logged once and told with its id; no server logs it again.

    A handler of Starlette's for it would stand outside of all middleware, and raise it again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def send_and_see(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except Exception:  # the outermost edge: nothing may escape
            bug_id = uuid.uuid4().hex[:8]
            log.exception(F.BUG, extra={F.REASON: bug_id})
            if not has_started:  # else the server closes what is not complete
                told = InternalError(f"the gateway failed; if you report it, mention {bug_id}")
                await problem(told)(scope, receive, send)


async def _known(_: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101  # how it is registered
    return problem(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # how it is registered
    method, path = request.method, request.url.path
    match error.status_code:
        case 404:
            return problem(PathNotFound(f"unknown request URL: {method} {path}"))
        case 405:
            response = problem(MethodNotAllowed(f"{method} is not allowed at {path}"))
            response.headers.update(error.headers or {})
            return response
        case _:
            return problem(InvalidRequest("the request could not be read"))
