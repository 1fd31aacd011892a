import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from gateway.api import asgi
from gateway.api.asgi import AsgiAnswer, AsgiInference, add_inference_routes
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from tests.support.fake_clock import FakeClock
from tests.support.fake_exchange import FakeExchange, forever

DISCONNECT: dict[str, Any] = {"type": "http.disconnect"}


class Server:
    """What an ASGI server is to the application: messages in, messages out."""

    def __init__(
        self,
        answer: Callable[[Call, Client], Awaitable[None]] | None = None,
        *,
        body_read_s: float = 5,
        max_body_bytes: int = 10_000,
    ) -> None:
        self.exchange = FakeExchange(answer)
        self.sent: list[dict[str, Any]] = []
        self.may_send = anyio.Event()
        self.may_send.set()
        self.is_broken = False
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        clock = FakeClock()
        inference = self.exchange.inference(clock, max_body_bytes=max_body_bytes)
        self.app = AsgiInference(inference, inference.endpoints.at, clock, body_read_s=body_read_s)

    def gets(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self._incoming.put_nowait(message)

    async def serve(
        self,
        *headers: tuple[bytes, bytes],
        path: str = "/v1/chat/completions",
        version: str = "1.1",
    ) -> None:
        scope = {"type": "http", "path": path, "headers": headers, "http_version": version}
        with anyio.fail_after(5):
            await self.app(scope, self._incoming.get, self._send)

    async def _send(self, message: Any) -> None:
        if self.is_broken:
            raise BrokenPipeError
        await self.may_send.wait()
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message["more_body"]:
            self.gets(DISCONNECT)  # as uvicorn does when all is sent

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def a_body(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_pieces_becomes_one_call() -> None:
    server = Server()
    server.gets(a_body(b'{"a"', more=True), a_body(b":1}"))
    await server.serve((b"x-request-id", b"mine"))
    (call,) = server.exchange.calls
    assert (call.body, call.request_id) == (b'{"a":1}', "mine")
    assert (server.status, server.body) == (200, b'{"a":1}')
    assert server.headers[b"content-length"] == b"7"


async def test_a_path_without_an_endpoint_is_not_found() -> None:
    with pytest.raises(HTTPException) as raised:
        await Server().serve(path="/nothing")
    assert raised.value.status_code == 404


@pytest.mark.parametrize(
    ("header", "status"),
    [((b"content-length", b"99999"), 413), ((b"content-type", b"text/plain"), 415)],
)
async def test_a_refusal_by_the_head_reads_no_body(
    header: tuple[bytes, bytes], status: int
) -> None:
    server = Server()
    await server.serve(header)
    assert server.status == status
    assert b"connection" not in server.headers
    assert not server.exchange.calls


@pytest.mark.parametrize(("version", "is_last"), [("1.1", True), ("1.0", True), ("2", False)])
async def test_a_client_that_asked_first_and_is_refused_is_the_last(
    version: str, is_last: bool
) -> None:
    server = Server()
    head = ((b"content-type", b"text/plain"), (b"expect", b"100-continue"))
    await server.serve(*head, version=version)
    assert server.status == 415
    assert (b"connection" in server.headers) is is_last


async def test_a_body_over_the_bound_is_refused_where_it_passes_it() -> None:
    server = Server(max_body_bytes=3)
    server.gets(a_body(b"123", more=True), a_body(b"4", more=True))
    await server.serve()
    assert server.status == 413


async def test_a_body_that_comes_too_slowly_is_refused_and_the_last() -> None:
    server = Server(body_read_s=0.01)
    server.gets(a_body(b"1", more=True))
    await server.serve()
    assert server.status == 408
    assert server.headers[b"connection"] == b"close"


async def test_a_client_that_leaves_before_its_body_is_whole_gets_nothing() -> None:
    server = Server()
    server.gets(a_body(b"1", more=True), DISCONNECT)
    await server.serve()
    assert not server.sent
    assert not server.exchange.calls


async def test_a_client_that_leaves_ends_the_call() -> None:
    server = Server(forever)
    server.gets(a_body(b"{}"), a_body(b""), DISCONNECT)
    await server.serve()
    assert server.exchange.cancelled == 1
    assert server.exchange.clients[0].is_gone


async def test_a_server_that_cannot_send_ends_the_call() -> None:
    async def write(_call: Call, client: Client) -> None:
        client.start(200, ())
        client.write(b"piece")
        await asyncio.get_running_loop().create_future()

    server = Server(write)
    server.is_broken = True
    server.gets(a_body(b"{}"))
    await server.serve()
    assert server.exchange.cancelled == 1
    assert server.exchange.clients[0].is_gone


async def test_a_call_that_lingers_after_its_answer_is_left_alone() -> None:
    async def linger(_call: Call, client: Client) -> None:
        client.start(200, ())
        client.write(b"piece")
        client.finish()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()

    server = Server(linger)
    server.gets(a_body(b"{}"))
    await server.serve()
    assert server.body == b"piece"
    assert not server.exchange.cancelled
    assert not server.exchange.clients[0].is_gone


async def test_pieces_leave_as_they_are_written() -> None:
    async def write(_call: Call, client: Client) -> None:
        client.start(200, ())
        for piece in (b"one", b"two"):
            client.write(piece)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert server.body.endswith(piece)
        client.finish()

    server = Server(write)
    server.gets(a_body(b"{}"))
    await server.serve()
    assert server.body == b"onetwo"


async def test_an_aborted_answer_does_not_wait_for_its_client() -> None:
    async def abort(_call: Call, client: Client) -> None:
        client.start(200, ())
        client.write(b"piece")
        await anyio.lowlevel.checkpoint()
        client.abort()
        client.write(b"more")
        client.finish()

    server = Server(abort)
    server.may_send = anyio.Event()
    server.gets(a_body(b"{}"))
    await server.serve()
    assert not server.sent


async def test_a_finished_answer_waits_for_its_client_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi, "_FLUSH_S", 0.01)
    server = Server()
    server.may_send = anyio.Event()
    server.gets(a_body(b"{}"))
    await server.serve()
    assert not server.sent


async def test_above_the_bound_the_engine_pauses_until_all_is_sent() -> None:
    answer, clock = AsgiAnswer(FakeClock()), FakeClock()
    pressed: list[str] = []
    answer.on_pressure(lambda: pressed.append("pause"), lambda: pressed.append("resume"))
    answer.start(200, ())
    answer.write(b"x" * 128 * 1024)
    assert not pressed
    answer.write(b"x")
    answer.write(b"x")
    assert pressed == ["pause"]
    since_s = [answer.blocked_since_s]
    answer.on_pressure(lambda: pressed.append("again"), lambda: pressed.append("resume"))
    answer.finish()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    with anyio.fail_after(5):
        await answer.send_all(send)
    assert pressed == ["pause", "again", "resume"]
    since_s.append(answer.blocked_since_s)
    assert since_s == [clock.now_s(), None]
    assert len(sent) == 5


def test_every_endpoint_becomes_a_route_for_posts() -> None:
    app = FastAPI()
    inference = FakeExchange().inference(FakeClock())
    before = len(app.router.routes)
    add_inference_routes(app, inference, FakeClock(), body_read_s=1)
    added: list[Any] = app.router.routes[before:]
    paths = [route.path for route in added]
    assert paths == [*inference.endpoints.fixed, "/tgi/{rest:path}"]
    assert all(route.methods == {"POST"} for route in added)


async def test_without_anything_to_pause_nothing_happens() -> None:
    answer = AsgiAnswer(FakeClock())
    answer.write(b"x" * 200_000)
    answer.finish()

    async def send(_message: Any) -> None:
        await anyio.lowlevel.checkpoint()

    with anyio.fail_after(5):
        await answer.send_all(send)
    assert answer.blocked_since_s is None
