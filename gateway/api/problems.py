"""Errors of the FastAPI side in OpenAI's words: unknown paths, wrong methods, bugs.

The inference endpoints tell their own failures through their dialect.
"""

import logging
import uuid

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.inference import request_id
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
    app.add_exception_handler(Exception, _bug)


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


async def _bug(request: Request, bug: Exception) -> Response:
    bug_id = uuid.uuid4().hex[:8]
    log.error(F.BUG, exc_info=bug, extra={F.REASON: bug_id})
    response = problem(InternalError(f"the gateway failed; if you report it, mention {bug_id}"))
    # Starlette answers bugs outside of all middleware, so no other part sets it
    given = request.headers.get("x-request-id")
    response.headers["x-request-id"] = request_id(None if given is None else given.encode())
    return response
