"""`GET /admin/live`: the fleet and its traffic once a second, as server-sent events.

Each event is a whole `View` (`gateway/live/view.py`), so whoever comes late or loses some misses
nothing. The stream ends when the gateway drains. Watchers are few people: there is a bound.
"""

from typing import Final

import anyio
from fastapi import APIRouter
from pydantic import SecretStr
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from gateway.api.admin import admin_router
from gateway.errors import TooManyWatchers
from gateway.live.watch import EVERY_S, Live

MAX_WATCHERS: Final = 32
_WRITE_STALL_S: Final = 15.0


def live_router(live: Live, admin_key: SecretStr | None) -> APIRouter:
    """`/admin/live`."""
    router = admin_router(admin_key)
    watching = anyio.Semaphore(MAX_WATCHERS)

    @router.get(
        "/live",
        summary="The fleet and its traffic once a second, as server-sent events",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def watch() -> Response:
        if watching.value == 0:
            raise TooManyWatchers(
                f"{MAX_WATCHERS} are watching this process already: close one of them",
                retry_after_s=5.0,
            )
        return _Events(live, watching)

    return router


class _Events(Response):
    """Ends when the client leaves, or takes nothing for a while, or the gateway drains."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, watching: anyio.Semaphore) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})  # nginx would hold events back
        del self.headers["content-length"]
        self._live = live
        self._watching = watching

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._watching, anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            await self._tell(send)
            tasks.cancel_scope.cancel()

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        while not self._live.is_over:
            event = b"data: " + await self._live.view() + b"\n\n"
            with anyio.move_on_after(_WRITE_STALL_S) as stalled:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            if stalled.cancelled_caught:
                return  # what is not complete is closed by the server
            await anyio.sleep(EVERY_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, watching: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    watching.cancel()
