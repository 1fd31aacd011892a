"""Everything a client can do wrong: what it sends, and when it leaves."""

import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from gateway.simulator.engine import SimulatedEngine
from tests.chaos.purse import LOGIN
from tests.chaos.stage import PATH, body
from tests.support.raw_client import RawClient, get, post
from tests.support.running import until

LONG = 3000  # tokens that nobody will wait for


@dataclass(frozen=True, slots=True)
class ClientFault:
    """One thing that a client does.

    `status` is what it gets (None: nothing, it is gone or was let go), `logged` the outcome in
    the request log (None: it never was a call). `is_closed`: the connection ends with it.
    """

    number: str
    name: str
    does: Callable[["Visit"], Awaitable[None]]
    status: int | None = None
    code: str | None = None
    logged: str | None = None
    is_closed: bool = False
    server: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Visit:
    """A client, and what it can find out of the gateway."""

    client: RawClient
    engine: SimulatedEngine

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self.client.send(piece)

    async def until_the_engine_works(self) -> None:
        await until(lambda: bool(self.engine.requests), within_s=5)

    async def first_content(self) -> None:
        read = b""
        with anyio.fail_after(10):
            while b'"text":' not in read:
                read += await self.client.stream.receive(200)

    async def leave(self, *, reset: bool) -> None:
        if reset:
            raw: socket.socket = self.client.stream.extra(anyio.abc.SocketAttribute.raw_socket)
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await self.client.stream.aclose()


def call(*, stream: bool = False, max_tokens: int = 16) -> bytes:
    """The bytes of a call that pays."""
    asked = json.dumps(body(stream=stream, max_tokens=max_tokens)).encode()
    return post(asked, PATH, authorization=LOGIN["authorization"])


def sends(*pieces: bytes) -> Callable[[Visit], Awaitable[None]]:
    async def does(visit: Visit) -> None:
        await visit.send(*pieces)

    return does


def leaves(*, stream: bool, reset: bool, when: str) -> Callable[[Visit], Awaitable[None]]:
    async def does(visit: Visit) -> None:
        request = call(stream=stream, max_tokens=LONG)
        if when == "in the body":
            await visit.send(request[:-20])
            await anyio.sleep(0.05)
        else:
            await visit.send(request)
            await visit.until_the_engine_works()
        if when == "after content":
            await visit.first_content()
        await visit.leave(reset=reset)

    return does


async def _half_closes(visit: Visit) -> None:
    await visit.send(call(max_tokens=LONG))
    await visit.until_the_engine_works()
    await visit.client.stream.send_eof()


async def _reads_nothing(visit: Visit) -> None:
    visit.engine.inject("huge-event=14000000", count=1)
    await visit.send(call(stream=True, max_tokens=LONG))


async def _leaves_others_waiting(visit: Visit) -> None:
    await visit.send(call(max_tokens=LONG) + call() * 50)
    await visit.until_the_engine_works()
    await visit.leave(reset=True)


def _with(*lines: bytes, of: bytes | None = None) -> bytes:
    """A call with more header lines."""
    request = call() if of is None else of
    return request.replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n", 1)


def _raw(head: bytes, sent: bytes = b"") -> bytes:
    return head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + sent


_LOGIN_LINE = b"authorization: " + LOGIN["authorization"].encode()
_PATH_LINE = (
    b"POST " + PATH.encode() + b" HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"
)
_SMALL = {"max_body_bytes": 4096}
_QUICK = {"body_read_s": 0.4}


def _body_of(text: bytes) -> bytes:
    return _PATH_LINE + _LOGIN_LINE + b"\r\ncontent-length: %d\r\n\r\n" % len(text) + text


def _leavers() -> list[ClientFault]:
    found = []
    for number, when, logged in (
        ("C1", "in the body", None),
        ("C1", "before the first byte", "client_gone"),
        ("C1", "after content", "client_gone"),
    ):
        for how, reset in (("resets", True), ("closes", False)):
            for kind, stream in (("a stream", True), ("an answer", False)):
                if stream or when != "after content":
                    name = f"{how} {when} of {kind}"
                    does = leaves(stream=stream, reset=reset, when=when)
                    found.append(ClientFault(number, name, does, logged=logged))
    return found


def _refused(
    number: str, name: str, sent: bytes, status: int, code: str | None = None, **more: Any
) -> ClientFault:
    return ClientFault(number, name, sends(sent), status, code, **more)


CLIENT_FAULTS: tuple[ClientFault, ...] = (
    *_leavers(),
    ClientFault(
        "C1", "leaves with fifty requests waiting", _leaves_others_waiting, logged="client_gone"
    ),
    ClientFault(
        "C2", "closes its half in the middle of an answer", _half_closes, logged="client_gone"
    ),
    ClientFault(
        "C3", "reads nothing", _reads_nothing, logged="client_gone", server={"write_stall_s": 0.5}
    ),
    _refused(
        "C4",
        "sends half a head",
        call()[:40],
        408,
        "request_timeout",
        is_closed=True,
        server=_QUICK,
    ),
    _refused(
        "C4",
        "sends half a body",
        call()[:-9],
        408,
        "request_timeout",
        is_closed=True,
        server=_QUICK,
        logged=None,
    ),
    _refused(
        "C7",
        "tells a length over the bound",
        post(length=10**9),
        413,
        "request_too_large",
        server=_SMALL,
    ),
    _refused(
        "C7",
        "sends chunks over the bound",
        post(transfer_encoding="chunked") + b"2710\r\n" + b"x" * 10_000 + b"\r\n0\r\n\r\n",
        413,
        "request_too_large",
        server=_SMALL,
    ),
    _refused("C7", "sends nothing", _body_of(b""), 400, logged="client_error"),
    _refused("C7", "sends no JSON", _body_of(b"nonsense"), 400, logged="client_error"),
    _refused(
        "C7", "sends half a JSON", _body_of(b'{"model":"m","prompt":['), 400, logged="client_error"
    ),
    _refused(
        "C7",
        "sends brackets a hundred thousand deep",
        _body_of(b"[" * 100_000),
        400,
        logged="client_error",
    ),
    _refused(
        "C7", "sends a NUL", _body_of(b'{"model":"m\0","prompt":"x"}'), 400, logged="client_error"
    ),
    _refused(
        "C7",
        "sends half a surrogate pair",
        _body_of(rb'{"model":"m","prompt":"\ud800"}'),
        400,
        logged="client_error",
    ),
    _refused(
        "C7",
        "sends bytes that are no UTF-8",
        _body_of(b'{"model":"m","prompt":"\xff"}'),
        400,
        logged="client_error",
    ),
    _refused(
        "C7",
        "asks for a model that is not there",
        _body_of(b'{"model":"x","prompt":"x"}'),
        404,
        "model_not_found",
        logged="client_error",
    ),
    _refused(
        "C13",
        "has a wrong key",
        call().replace(b"sk-chaos", b"sk-wrong"),
        401,
        "invalid_api_key",
        logged="client_error",
    ),
    _refused(
        "C12",
        "compresses its body",
        _with(b"content-encoding: gzip"),
        415,
        "unsupported_content_type",
    ),
    _refused(
        "C8",
        "tells a length and sends chunks",
        _with(b"transfer-encoding: chunked"),
        400,
        is_closed=True,
    ),
    _refused("C8", "tells two lengths", _with(b"content-length: 5"), 400, is_closed=True),
    _refused(
        "C8",
        "tells a negative length",
        _PATH_LINE + b"content-length: -5\r\n\r\n",
        400,
        is_closed=True,
    ),
    _refused(
        "C8",
        "tells an odd transfer encoding",
        _PATH_LINE + b"transfer-encoding: xchunked\r\n\r\n",
        400,
        is_closed=True,
    ),
    _refused("C8", "folds a header", _with(b"x-a: b\r\n c"), 400, is_closed=True),
    _refused("C8", "puts a space before the colon", _with(b"x-a : b"), 400, is_closed=True),
    _refused(
        "C8",
        "sends a chunk size that is no number",
        post(transfer_encoding="chunked") + b"zz\r\n",
        400,
        is_closed=True,
    ),
    _refused(
        "C9",
        "sends headers of a megabyte",
        _with(b"x-a: " + b"x" * 1_000_000),
        431,
        "headers_too_large",
        is_closed=True,
    ),
    _refused(
        "C9",
        "sends ten thousand headers",
        _with(*[b"x-a: bcdefgh"] * 10_000),
        431,
        "headers_too_large",
        is_closed=True,
    ),
    _refused(
        "C11",
        "sends no HTTP",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        400,
        is_closed=True,
    ),
    _refused(
        "C11",
        "asks for a tunnel",
        b"CONNECT example.com:443 HTTP/1.1\r\nhost: g\r\n\r\n",
        400,
        is_closed=True,
    ),
    _refused(
        "C11",
        "sends a method that nobody knows",
        get("/v1/models", method="TRACE"),
        405,
        "method_not_allowed",
    ),
)
