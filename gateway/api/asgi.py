"""The inference endpoints as a plain ASGI application, for any server.

Writing to an ASGI server waits, and a `Client` must not wait: what the exchange writes goes into
a queue that one sender empties. When the queue is over its bound the engine is told to pause,
so at most one more read of it is held here.
"""

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Route

from gateway.api.endpoint import Endpoint
from gateway.api.inference import Inference, read_head
from gateway.api.tgi import PREFIX, tgi_endpoint
from gateway.clock import Clock
from gateway.errors import ClientGone, GatewayError, RequestTooSlow
from gateway.proxy.call import Call
from gateway.proxy.exchange import tell
from gateway.wire.http import Headers

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_HIGH_WATER_BYTES = 128 * 1024
_FLUSH_S = 60.0


class AsgiAnswer:
    """A `Client` over an ASGI server's `send`. `is_last`: nothing follows on this connection."""

    def __init__(self, clock: Clock) -> None:
        self.is_gone = False
        self.is_last = False
        self.is_finished = False
        self.has_started = False
        self.blocked_since_s: float | None = None
        self._clock = clock
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._more = anyio.Event()
        self._pause: Callable[[], None] = _nothing
        self._resume: Callable[[], None] = _nothing

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.start(status, (*headers, (b"content-length", str(len(body)).encode())))
        self._put({"type": "http.response.body", "body": body, "more_body": False})
        self.is_finished = True

    def start(self, status: int, headers: Headers) -> None:
        self.has_started = True
        if self.is_last:
            headers = (*headers, (b"connection", b"close"))
        self._put({"type": "http.response.start", "status": status, "headers": list(headers)})

    def write(self, piece: bytes) -> None:
        self._put({"type": "http.response.body", "body": piece, "more_body": True})
        self._queued_bytes += len(piece)
        if self._queued_bytes > _HIGH_WATER_BYTES and self.blocked_since_s is None:
            self.blocked_since_s = self._clock.now_s()
            self._pause()

    def finish(self) -> None:
        self._put({"type": "http.response.body", "body": b"", "more_body": False})
        self.is_finished = True

    def abort(self) -> None:
        self.gone()

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause, self._resume = pause, resume
        if self.blocked_since_s is not None:
            pause()

    def gone(self) -> None:
        """Nothing more can be sent."""
        self.is_gone = True
        self._queue.clear()
        self._more.set()

    async def send_all(self, send: Send) -> None:
        """Hand on what is written, until the answer is finished or the client gone."""
        while True:
            while self._queue:
                message = self._queue.popleft()
                await send(message)
                self._queued_bytes -= len(message.get("body", b""))
                if self.blocked_since_s is not None and self._queued_bytes <= 0:
                    self.blocked_since_s = None
                    self._resume()
            if self.is_finished or self.is_gone:
                return
            self._more = anyio.Event()
            await self._more.wait()

    def _put(self, message: Message) -> None:
        if not self.is_gone:
            self._queue.append(message)
            self._more.set()


class AsgiInference:
    """Inference endpoints as an ASGI application; `endpoint_at` a path, None: there is none."""

    def __init__(
        self,
        inference: Inference,
        endpoint_at: Callable[[str], Endpoint | None],
        clock: Clock,
        *,
        body_read_s: float,
    ) -> None:
        self._inference = inference
        self._endpoint_at = endpoint_at
        self._clock = clock
        self._body_read_s = body_read_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint_at(scope["path"])
        if endpoint is None:
            raise HTTPException(404)
        head = read_head(scope["headers"])
        answer = AsgiAnswer(self._clock)
        refusal = self._inference.refusal(head)
        body = b""
        if refusal is None:
            try:
                body = await self._body(receive)
            except ClientGone:
                return
            except GatewayError as exc:
                refusal = exc
        call = self._inference.call(endpoint, head, body)
        if refusal is not None:
            # where the body will not come, or not end, nothing after it could be read
            is_cut = head.expects_continue or isinstance(refusal, RequestTooSlow)
            answer.is_last = is_cut and scope["http_version"].startswith("1")
            tell(answer, call, refusal)
            await answer.send_all(send)
            return
        await self._serve(call, answer, receive, send)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            with anyio.fail_after(self._body_read_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone("the client left before its request was complete")
                    body += message.get("body", b"")
                    if len(body) > self._inference.max_body_bytes:
                        raise self._inference.too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as exc:
            raise RequestTooSlow("the body did not arrive in time") from exc

    async def _serve(self, call: Call, answer: AsgiAnswer, receive: Receive, send: Send) -> None:
        exchange_scope = anyio.CancelScope()

        def leave() -> None:
            answer.gone()
            exchange_scope.cancel()

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not answer.is_finished:  # else it only says that all is sent
                leave()

        async def deliver() -> None:
            try:
                await answer.send_all(send)
            except OSError:  # how some servers say that the client is gone
                leave()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            async with anyio.create_task_group() as sending:
                sending.start_soon(deliver)
                with exchange_scope:
                    await self._inference.exchange.run(call, answer)
                patience_s = 0.0 if answer.is_gone else _FLUSH_S
                sending.cancel_scope.deadline = anyio.current_time() + patience_s
            group.cancel_scope.cancel()


def add_inference_routes(
    app: FastAPI, inference: Inference, clock: Clock, *, body_read_s: float
) -> None:
    """Put every inference endpoint into the application."""
    fixed = inference.endpoints.fixed
    answer = AsgiInference(inference, fixed.get, clock, body_read_s=body_read_s)
    app.router.routes += [Route(path, answer, methods=["POST"]) for path in fixed]
    tgi = AsgiInference(inference, tgi_endpoint, clock, body_read_s=body_read_s)
    app.router.routes.append(Route(PREFIX + "{rest:path}", tgi, methods=["POST"]))


def _nothing() -> None:
    pass
