"""The way to `/admin`: the admin key first, then a bounded body, and failures in OpenAI's words.

Without an admin key nothing of it can be reached. Nobody else's body is read, and no answer may
be kept by a cache: some hold a secret.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.requests import ClientDisconnect
from typing_extensions import override

from gateway.api.inference import request_id
from gateway.errors import (
    ClientGone,
    InvalidRequest,
    RequestTooLarge,
    Unauthenticated,
    UnsupportedContentType,
)

MAX_BODY_BYTES = 64 * 1024
_ID = "x-request-id"


def admin_router(admin_key: SecretStr | None) -> APIRouter:
    """An empty router for `/admin`, behind the admin key alone."""

    class _Route(APIRoute):
        @override
        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # an awaitable is enough
            answer = super().get_route_handler()

            async def handle(request: Request) -> Response:
                authorize(request, admin_key)
                whole = _Whole(request.scope, request.receive)
                await whole.read()
                try:
                    response = await answer(whole)
                except RequestValidationError as wrong:
                    raise _told(wrong.errors()) from wrong
                response.headers["cache-control"] = "no-store"
                return response

            return handle

    return APIRouter(prefix="/admin", tags=["admin"], route_class=_Route)


def authorize(request: Request, admin_key: SecretStr | None) -> None:
    """Raises Unauthenticated."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    wanted = "" if admin_key is None else admin_key.get_secret_value()
    is_right = hmac.compare_digest(given.strip().encode(), wanted.encode())
    if not wanted or scheme.lower() != "bearer" or not is_right:
        raise Unauthenticated("this needs the admin key (GATEWAY_ADMIN_KEY)")


def _request_id(request: Request, response: Response) -> str:
    """The id of this request, which its answer has too."""
    given = request.headers.get(_ID)
    own = request_id(None if given is None else given.encode("latin-1"))
    response.headers[_ID] = own
    return own


RequestId = Annotated[str, Depends(_request_id)]


class _Whole(Request):
    """A request whose body is read at once, and refused before all of it is when it is too large.

    What is raised while FastAPI reads a body would come out as a failure without a name.
    """

    _read = b""

    async def read(self) -> None:
        """Raises RequestTooLarge, UnsupportedContentType, ClientGone."""
        whole = bytearray()
        try:
            async for piece in self.stream():
                whole += piece
                if len(whole) > MAX_BODY_BYTES:
                    raise RequestTooLarge(f"the body is larger than {MAX_BODY_BYTES // 1024} KiB")
        except ClientDisconnect as gone:
            raise ClientGone("the client left") from gone
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if whole and kind != "application/json":
            raise UnsupportedContentType("the content-type must be application/json")
        self._read = bytes(whole)

    @override
    async def body(self) -> bytes:
        return self._read


def _told(errors: Sequence[Any]) -> InvalidRequest:
    """The first of them, with the field that it is about."""
    error = errors[0]
    _, *path = error["loc"]
    param = ".".join(map(str, path))
    match error["type"]:
        case "json_invalid":
            return InvalidRequest("the body is not valid JSON")
        case "extra_forbidden":
            return InvalidRequest(f"{param}: unknown field", param=param)
        case "missing":
            return InvalidRequest(f"{param or 'the body'}: required", param=param or None)
        case "value_error":
            what = str(error["msg"]).removeprefix("Value error, ")
        case _:
            _, _, rule = error["msg"].partition(" should ")
            what = f"must {rule}" if rule else error["msg"]
    return InvalidRequest(f"{param or 'the body'}: {what}", param=param or None)
