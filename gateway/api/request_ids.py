"""Give every response an `x-request-id`: the client's own when it sent a sane one."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.inference import request_id

_NAME = b"x-request-id"


class RequestIds:
    """ASGI middleware. An id that the application set itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(_NAME)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = list(message.get("headers", ()))
                if not any(name == _NAME for name, _ in headers):
                    headers.append((_NAME, request_id(given).encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_id)
