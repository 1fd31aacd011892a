"""Both upstreams do the same, whatever the engine does.

The one that serves runs on asyncio's own loop and on uvloop; the reference on asyncio's.
"""

import asyncio
import gzip
import inspect
import socket
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from gateway.errors import (
    ConnectionLost,
    EngineFault,
    EngineOverloaded,
    EngineSilent,
    EngineUnreachable,
    GatewayError,
)
from gateway.proxy.upstream.pool import PoolUpstream
from gateway.proxy.upstream.protocol import Upstream, UpstreamResponse
from gateway.proxy.upstream.reference import HttpxUpstream
from gateway.wire.http import Headers, Origin, UpstreamRequest
from tests.support.running import until
from tests.support.scripted_server import (
    CHUNKED,
    LAST_CHUNK,
    Peer,
    Script,
    answering,
    certified,
    chunk,
    sending,
    serving,
    silent,
    whole,
)

pytestmark = pytest.mark.integration

T = TypeVar("T")
Make = type[PoolUpstream] | type[HttpxUpstream]

KINDS: dict[str, tuple[Make, bool]] = {
    "pool": (PoolUpstream, False),
    "pool-uvloop": (PoolUpstream, True),
    "reference": (HttpxUpstream, False),
}
LIMIT = 1 << 20


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if KINDS[str(request.param)][1]:
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> tuple[str, dict[str, object]]:
    return "asyncio", {"use_uvloop": KINDS[kind][1]}


@pytest.fixture
def make(kind: str) -> Make:
    return KINDS[kind][0]


@pytest.fixture
async def upstream(make: Make) -> AsyncIterator[Upstream]:
    async with make() as made:
        yield made


class Sink:
    """Takes a body, and says when something has come."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.endings: list[GatewayError | None] = []
        self._changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def data(self, piece: bytes) -> None:
        assert piece
        assert not self.endings
        self.pieces.append(piece)
        self._changed.set()

    def ended(self, failure: GatewayError | None) -> None:
        self.endings.append(failure)
        self._changed.set()

    async def has(self, body_bytes: int) -> None:
        """Wait until this many bytes have come."""
        await self._until(lambda: len(self.body) >= body_bytes)

    async def end(self) -> GatewayError | None:
        await self._until(lambda: bool(self.endings))
        [ending] = self.endings
        return ending

    async def _until(self, is_so: Callable[[], bool]) -> None:
        with anyio.fail_after(5):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


async def send(
    upstream: Upstream,
    origin: Origin,
    path: str = "/",
    *,
    body: bytes = b"{}",
    headers: Headers = (),
    method: str = "POST",
    connect_s: float = 5.0,
    first_byte_s: float = 5.0,
) -> UpstreamResponse:
    with anyio.fail_after(8):
        return await upstream.send(
            origin,
            UpstreamRequest(method, path, headers, body),
            connect_s=connect_s,
            first_byte_s=first_byte_s,
        )


async def fetch(upstream: Upstream, origin: Origin, path: str = "/", **given: Any) -> bytes:
    """Send, read the whole body and close."""
    response = await send(upstream, origin, path, **given)
    try:
        with anyio.fail_after(8):
            return await response.read(LIMIT)
    finally:
        response.close()


# what is sent


async def test_a_request_arrives_as_it_was_given(upstream: Upstream) -> None:
    async with serving(answering(whole()), base_path="/under") as it:
        headers = ((b"content-type", b"application/json"), (b"x-request-id", b"r\xe9"))
        await fetch(upstream, it.origin, "/v1/chat?x=%20{}|", body=b'{"a":1}', headers=headers)
    [request] = it.server.requests
    assert (request.method, request.target) == ("POST", "/under/v1/chat?x=%20{}|")
    assert request.body == b'{"a":1}'
    assert dict(request.headers) == {
        b"host": f"127.0.0.1:{it.origin.port}".encode(),
        b"accept": b"*/*",
        b"content-type": b"application/json",
        b"x-request-id": b"r\xe9",
        b"content-length": b"7",
    }


async def test_a_request_without_a_body_says_so(upstream: Upstream) -> None:
    async with serving(answering(whole())) as it:
        await fetch(upstream, it.origin, "/health", method="GET", body=b"")
    assert it.server.requests[0].header(b"content-length") == b"0"


async def test_a_large_body_arrives_whole(upstream: Upstream) -> None:
    body = bytes(range(256)) * 16384
    async with serving(answering(whole())) as it:
        await fetch(upstream, it.origin, body=body)
    assert it.server.requests[0].body == body


@pytest.mark.parametrize("path", ["/a b", "/a\r\nx: y", "/é"])
async def test_a_path_that_would_break_the_request_line_is_never_sent(
    upstream: Upstream, path: str
) -> None:
    async with serving(answering(whole())) as it:
        with pytest.raises(ValueError, match="printable"):
            await fetch(upstream, it.origin, path)
    assert it.server.requests == []


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\rb"])
async def test_a_header_that_would_hold_another_is_never_sent(
    upstream: Upstream, value: bytes
) -> None:
    async with serving(answering(whole())) as it:
        with pytest.raises(ValueError, match="line end"):
            await fetch(upstream, it.origin, headers=((b"x", value),))
    assert it.server.requests == []


async def test_proxies_of_the_environment_are_not_used(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(answering(whole(b"direct"))) as it:
        assert await fetch(upstream, it.origin) == b"direct"


# whole answers

ANSWERS = {
    "content-length": whole(b"hello"),
    "chunked": CHUNKED + chunk(b"hel") + chunk(b"lo") + LAST_CHUNK,
    "chunked with trailers": CHUNKED + chunk(b"hello") + b"0\r\nx-sum: 1\r\n\r\n",
    "until close": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "http/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "connection: close": whole(b"hello", head=b"connection: close\r\n"),
    "after interim answers": b"HTTP/1.1 100 Continue\r\nx: 1\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + whole(b"hello"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_is_read_whole_however_it_is_framed(
    upstream: Upstream, answer: bytes
) -> None:
    async with serving(sending(answer)) as it:
        response = await send(upstream, it.origin)
        assert response.status == 200
        assert response.header(b"x") is None
        assert await response.read(LIMIT) == b"hello"
        response.close()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_is_pushed_whole_however_it_is_framed(
    upstream: Upstream, answer: bytes
) -> None:
    async with serving(sending(answer)) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        assert await sink.end() is None
        assert sink.body == b"hello"
        response.close()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_is_read_whole_when_it_comes_byte_by_byte(
    upstream: Upstream, answer: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for byte in answer:
            await peer.send(bytes((byte,)))
            await anyio.lowlevel.checkpoint()
        peer.close()

    async with serving(script) as it:
        assert await fetch(upstream, it.origin) == b"hello"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_that_has_no_body_ends_with_its_head(
    upstream: Upstream, status: bytes
) -> None:
    async with serving(answering(b"HTTP/1.1 %b\r\netag: a\r\n\r\n" % status)) as it:
        response = await send(upstream, it.origin)
        assert response.status == int(status[:3])
        assert response.header(b"etag") == b"a"
        assert await response.read(LIMIT) == b""
        response.close()


async def test_an_empty_body_is_pushed_as_an_end_alone(upstream: Upstream) -> None:
    async with serving(answering(whole(b""))) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        assert await sink.end() is None
        assert sink.pieces == []
        response.close()


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 418, 429, 500, 503, 599])
async def test_every_status_is_an_answer(upstream: Upstream, status: int) -> None:
    head = b"location: http://127.0.0.1:9/\r\nretry-after: 7\r\n"
    async with serving(answering(whole(b"body", head=head, status=b"%d x" % status))) as it:
        response = await send(upstream, it.origin)
        assert response.status == status
        assert response.header(b"retry-after") == b"7"
        assert await response.read(LIMIT) == b"body"
        response.close()


async def test_headers_are_found_in_any_case_and_the_first_of_a_name_counts(
    upstream: Upstream,
) -> None:
    head = b"X-Name: one\r\nx-name: two\r\nX-Odd:  \xff spaced \r\n"
    async with serving(answering(whole(head=head))) as it:
        response = await send(upstream, it.origin)
        assert response.header(b"x-name") == b"one"
        assert response.header(b"x-odd") == b"\xff spaced"
        assert response.header(b"absent") is None
        response.close()


# streams


async def test_each_piece_is_pushed_as_it_was_sent_and_when_it_was_sent(
    upstream: Upstream,
) -> None:
    events = [b"data: %d\n\n" % number for number in range(20)]
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for event in events:
            await go_on.wait()
            go_on.clear()
            await peer.send(chunk(event))
        await go_on.wait()
        await peer.send(LAST_CHUNK)

    async with serving(script) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        sent = 0
        for event in events:
            go_on.set()
            sent += len(event)
            await sink.has(sent)
        assert not sink.endings
        go_on.set()
        assert await sink.end() is None
        assert sink.pieces == events
        response.close()


async def test_pieces_cut_inside_characters_come_through_unchanged(upstream: Upstream) -> None:
    text = "data: Grüße, 世界 🎉\n\n".encode()
    chunks = [chunk(text[at : at + 1]) for at in range(len(text))]
    async with serving(sending(CHUNKED, *chunks, LAST_CHUNK)) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        assert await sink.end() is None
        assert sink.body == text
        response.close()


async def test_pieces_of_a_megabyte_come_through_unchanged(upstream: Upstream) -> None:
    pieces = [bytes((number,)) * (1 << 20) for number in range(4)]
    chunks = [chunk(piece) for piece in pieces]
    async with serving(sending(CHUNKED, *chunks, LAST_CHUNK)) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        assert await sink.end() is None
        assert sink.body == b"".join(pieces)
        response.close()


async def test_what_came_before_delivery_is_delivered_first(upstream: Upstream) -> None:
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, chunk(b"early "))
        await more.wait()
        await peer.send(chunk(b"late"), LAST_CHUNK)

    async with serving(script) as it:
        response = await send(upstream, it.origin)
        await anyio.sleep(0.02)
        sink = Sink()
        response.deliver(sink)
        await sink.has(6)
        assert sink.pieces == [b"early "]
        more.set()
        assert await sink.end() is None
        assert sink.body == b"early late"
        response.close()


# bounds


async def test_a_body_over_the_limit_is_refused_and_its_connection_dropped(
    upstream: Upstream,
) -> None:
    async with serving(answering(whole(b"x" * 5000))) as it:
        response = await send(upstream, it.origin)
        with pytest.raises(EngineFault, match="too large"):
            await response.read(4999)
        response.close()
        response = await send(upstream, it.origin)
        assert len(await response.read(5000)) == 5000
        response.close()


async def test_an_endless_body_is_refused_at_the_limit(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"x" * 65536))

    async with serving(script) as it:
        response = await send(upstream, it.origin)
        with pytest.raises(EngineFault, match="too large"), anyio.fail_after(8):
            await response.read(LIMIT)
        response.close()
        await it.server.settled()


async def test_a_body_larger_than_what_is_kept_early_is_read_whole(upstream: Upstream) -> None:
    body = b"x" * 900_000
    async with serving(answering(whole(body))) as it:
        response = await send(upstream, it.origin)
        await anyio.sleep(0.05)
        assert await response.read(LIMIT) == body
        response.close()


HEADS_TOO_LARGE = {
    "one large header": b"HTTP/1.1 200 OK\r\nx: %b\r\ncontent-length: 0\r\n\r\n" % (b"a" * 70_000),
    "one very large header": b"HTTP/1.1 200 OK\r\nx: %b\r\ncontent-length: 0\r\n\r\n"
    % (b"a" * 200_000),
    "many small headers": b"HTTP/1.1 200 OK\r\n%bcontent-length: 0\r\n\r\n"
    % (b"x: a\r\n" * 12_000),
    "without an end": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
}


@pytest.mark.parametrize("piece_bytes", [1 << 20, 1000], ids=["at once", "in pieces"])
@pytest.mark.parametrize("head", HEADS_TOO_LARGE.values(), ids=HEADS_TOO_LARGE)
async def test_a_head_over_64_kib_is_refused(
    upstream: Upstream, head: bytes, piece_bytes: int
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for start in range(0, len(head), piece_bytes):
            await peer.send(head[start : start + piece_bytes])

    async with serving(script) as it:
        with pytest.raises(EngineFault):
            await send(upstream, it.origin)
        await it.server.settled()


async def test_a_head_of_60_kib_is_taken(upstream: Upstream) -> None:
    async with serving(answering(whole(head=b"x: %b\r\n" % (b"a" * 60_000)))) as it:
        response = await send(upstream, it.origin)
        assert len(response.header(b"x") or b"") == 60_000
        response.close()


# encodings that nobody asked for

DEFLATED = {
    b"gzip": gzip.compress(b"hello"),
    b"GZIP": gzip.compress(b"hello"),
    b"deflate": zlib.compress(b"hello"),
    b"identity": b"hello",
}


@pytest.mark.parametrize(("encoding", "body"), DEFLATED.items(), ids=[*map(bytes.decode, DEFLATED)])
async def test_an_encoding_that_nobody_asked_for_is_undone(
    upstream: Upstream, encoding: bytes, body: bytes
) -> None:
    head = b"content-encoding: %b\r\n" % encoding
    async with serving(answering(whole(body, head=head))) as it:
        assert await fetch(upstream, it.origin) == b"hello"


@pytest.mark.parametrize("encoding", [b"br", b"gzip", b"gzip, gzip"])
async def test_a_body_that_cannot_be_decoded_is_a_fault(
    upstream: Upstream, encoding: bytes
) -> None:
    head = b"content-encoding: %b\r\n" % encoding
    async with serving(answering(whole(b"not compressed", head=head))) as it:
        with pytest.raises(EngineFault, match="compressed"):
            await fetch(upstream, it.origin)
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        assert isinstance(await sink.end(), EngineFault)
        response.close()


# connecting


async def test_a_refused_connection_is_unreachable(upstream: Upstream) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        with pytest.raises(EngineUnreachable):
            await send(upstream, Origin("http", "127.0.0.1", bound.getsockname()[1]))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70, "a..b"])
async def test_a_host_that_does_not_resolve_is_unreachable(upstream: Upstream, host: str) -> None:
    with pytest.raises(EngineUnreachable):
        await send(upstream, Origin("http", host, 80), connect_s=3)


@pytest.mark.skipif(sys.platform != "linux", reason="how a full backlog behaves differs")
async def test_a_connection_that_is_not_made_in_time_is_unreachable(upstream: Upstream) -> None:
    waiting: list[socket.socket] = []
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            for _ in range(4):  # the system drops what comes after
                one = socket.socket()
                waiting.append(one)
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            with pytest.raises(EngineUnreachable, match="in time"):
                await send(
                    upstream, Origin("http", "127.0.0.1", full.getsockname()[1]), connect_s=0.2
                )
    finally:
        for one in waiting:
            one.close()


async def test_a_handshake_that_is_not_done_in_time_is_unreachable(
    upstream: Upstream, tmp_path: Path
) -> None:
    _, ca_file = certified("127.0.0.1", tmp_path)

    async def script(peer: Peer) -> None:
        await peer.gone()

    async with serving(script) as it:
        origin = Origin("https", "127.0.0.1", it.origin.port, "", str(ca_file))
        with pytest.raises(EngineUnreachable, match="in time"):
            await send(upstream, origin, connect_s=0.2)
        await it.server.settled()


# machines that vanish


@pytest.mark.skipif(sys.platform != "linux", reason="it is the kernel that tells")
async def test_the_kernel_asks_whether_the_engine_is_still_there(upstream: Upstream) -> None:
    async with serving(silent) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(send, upstream, it.origin)
        await until(lambda: bool(it.server.requests), within_s=5)
        assert _timers(to_port=it.origin.port) == [_KEEPALIVE_TIMER]
        tasks.cancel_scope.cancel()


_ESTABLISHED, _KEEPALIVE_TIMER = "01", "02"


def _timers(to_port: int) -> list[str]:
    """Which timer the kernel runs for each open connection to a port: see proc_net_tcp.rst."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    there = [row for row in rows if int(row[2].split(":")[1], 16) == to_port]
    return [row[5].split(":")[0] for row in there if row[3] == _ESTABLISHED]


# what engines do wrong


async def test_silence_before_the_first_byte_is_bounded(upstream: Upstream) -> None:
    async with serving(silent) as it:
        with pytest.raises(EngineSilent):
            await send(upstream, it.origin, first_byte_s=0.1)
        await it.server.settled()
    assert len(it.server.requests) == 1


async def test_a_head_that_trickles_is_bounded_as_a_whole(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            await peer.send(b"a")
            await anyio.sleep(0.01)

    async with serving(script) as it:
        with pytest.raises(EngineSilent):
            await send(upstream, it.origin, first_byte_s=0.3)
        await it.server.settled()


async def test_connecting_does_not_count_as_silence(upstream: Upstream) -> None:
    async with serving(answering(whole())) as it:
        assert await fetch(upstream, it.origin, connect_s=5, first_byte_s=0.5) == b"ok"


def _ends(how: str, *pieces: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        if pieces:
            await peer.send(*pieces)
            await anyio.sleep(0.05)  # so that a reset does not overtake what was sent
        match how:
            case "close":
                peer.close()
            case "half-close":
                peer.half_close()
            case _:
                peer.reset()

    return script


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-le"], ids=["nothing", "part"])
async def test_a_connection_that_breaks_before_the_head_is_lost(
    upstream: Upstream, how: str, begun: bytes
) -> None:
    async with serving(_ends(how, begun)) as it:
        with pytest.raises(ConnectionLost):
            await send(upstream, it.origin)
        await it.server.settled()
    assert len(it.server.requests) == 1


BROKEN = {
    "content-length": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello",
    "chunked": CHUNKED + chunk(b"hello"),
    "inside a chunk": CHUNKED + b"ff\r\nhello",
}


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_connection_that_breaks_in_the_body_is_lost(
    upstream: Upstream, how: str, answer: bytes
) -> None:
    async with serving(_ends(how, answer)) as it:
        response = await send(upstream, it.origin)
        with pytest.raises(ConnectionLost):
            await response.read(LIMIT)
        response.close()
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        assert isinstance(await sink.end(), ConnectionLost)
        assert sink.body == b"hello"
        response.close()
        await it.server.settled()


async def test_a_reset_does_not_end_a_body_without_a_length(upstream: Upstream) -> None:
    async with serving(_ends("reset", b"HTTP/1.1 200 OK\r\n\r\nhello")) as it:
        response = await send(upstream, it.origin)
        with pytest.raises(ConnectionLost):
            await response.read(LIMIT)
        response.close()


GARBAGE = {
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "bad status": b"HTTP/1.1 abc OK\r\n\r\n",
    "bad header": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "bad length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_not_http_is_a_fault(upstream: Upstream, garbage: bytes) -> None:
    async with serving(answering(garbage)) as it:
        with pytest.raises(EngineFault):
            await send(upstream, it.origin)
        await it.server.settled()


async def test_a_bad_chunk_is_a_fault_and_what_came_before_it_is_delivered(
    upstream: Upstream,
) -> None:
    async with serving(answering(CHUNKED + chunk(b"hello") + b"zz\r\n")) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        assert isinstance(await sink.end(), EngineFault)
        assert sink.body == b"hello"
        response.close()
        response = await send(upstream, it.origin)
        with pytest.raises(EngineFault):
            await response.read(LIMIT)
        response.close()
        await it.server.settled()


# keeping connections


async def test_a_connection_is_used_again(upstream: Upstream) -> None:
    async with serving(answering(*(whole(b"%d" % n) for n in range(5)))) as it:
        bodies = [await fetch(upstream, it.origin, f"/{n}") for n in range(5)]
    assert bodies == [b"0", b"1", b"2", b"3", b"4"]
    assert it.server.connections == 1


async def test_a_connection_is_used_again_after_a_stream(upstream: Upstream) -> None:
    async with serving(answering(CHUNKED + chunk(b"a") + LAST_CHUNK)) as it:
        for _ in range(3):
            response = await send(upstream, it.origin)
            sink = Sink()
            response.deliver(sink)
            assert await sink.end() is None
            response.close()
            response.close()
    assert it.server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [ANSWERS["connection: close"], b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello"],
    ids=["connection: close", "http/1.0"],
)
async def test_a_connection_that_the_engine_will_not_keep_is_not_used_again(
    upstream: Upstream, answer: bytes
) -> None:
    async with serving(answering(answer)) as it:
        assert await fetch(upstream, it.origin) == b"hello"
        assert await fetch(upstream, it.origin) == b"hello"
        await it.server.settled()
    assert it.server.connections == 2


async def test_each_origin_has_its_own_connections(upstream: Upstream) -> None:
    async with serving(answering(whole(b"a"))) as a, serving(answering(whole(b"b"))) as b:
        for _ in range(2):
            assert await fetch(upstream, a.origin) == b"a"
            assert await fetch(upstream, b.origin) == b"b"
    assert (a.server.connections, b.server.connections) == (1, 1)


def _answers_one(how: str, *, answers_next: bool) -> Script:
    """Answer one request, and break off while idle, or upon the next request."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"first"))
        if answers_next:
            await peer.request()
        if how == "reset":
            peer.reset()
        else:
            peer.close()
        peer.is_gone.set()

    return script


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_closed_while_idle_is_replaced_silently(
    upstream: Upstream, how: str
) -> None:
    async with serving(_answers_one(how, answers_next=False), answering(whole(b"second"))) as it:
        assert await fetch(upstream, it.origin) == b"first"
        with anyio.fail_after(2):
            await it.server.peers[0].is_gone.wait()
        assert await fetch(upstream, it.origin) == b"second"
    assert it.server.connections == 2


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_kept_connection_closed_before_the_first_byte_is_replaced_silently(
    upstream: Upstream, how: str
) -> None:
    async with serving(_answers_one(how, answers_next=True), answering(whole(b"second"))) as it:
        assert await fetch(upstream, it.origin, "/1") == b"first"
        assert await fetch(upstream, it.origin, "/2", body=b"again") == b"second"
    assert it.server.targets == ["/1", "/2", "/2"]
    assert it.server.requests[1] == it.server.requests[2]


async def test_a_kept_connection_is_replaced_once_only(upstream: Upstream) -> None:
    both = asyncio.Event()
    arrived = 0

    async def script(peer: Peer) -> None:
        nonlocal arrived
        await peer.request()
        arrived += 1
        if arrived == 2:
            both.set()
        await both.wait()
        await peer.send(whole())
        await peer.request()
        peer.reset()

    async with serving(script, script, _ends("reset")) as it:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch, upstream, it.origin, "/a")
            tasks.start_soon(fetch, upstream, it.origin, "/b")
        with pytest.raises(ConnectionLost):
            await fetch(upstream, it.origin, "/lost")
    assert it.server.targets.count("/lost") == 2


async def test_a_request_sent_on_a_fresh_connection_is_not_sent_again(upstream: Upstream) -> None:
    async with serving(_ends("reset")) as it:
        with pytest.raises(ConnectionLost):
            await fetch(upstream, it.origin, body=b'{"a":1}')
    assert len(it.server.requests) == 1


async def test_a_request_whose_answer_has_begun_is_not_sent_again(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"first"))
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        await anyio.sleep(0.05)
        peer.reset()

    async with serving(script) as it:
        assert await fetch(upstream, it.origin, "/1") == b"first"
        with pytest.raises(ConnectionLost):
            await fetch(upstream, it.origin, "/2")
    assert it.server.targets == ["/1", "/2"]


async def test_a_kept_connection_that_stays_silent_is_not_tried_again(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(whole(b"first"))
        await peer.request()

    async with serving(script) as it:
        assert await fetch(upstream, it.origin, "/1") == b"first"
        with pytest.raises(EngineSilent):
            await fetch(upstream, it.origin, "/2", first_byte_s=0.1)
    assert it.server.targets == ["/1", "/2"]


def test_connections_are_kept_for_less_time_than_engines_keep_them(make: Make) -> None:
    assert inspect.signature(make).parameters["keepalive_expiry_s"].default < 5


async def test_a_connection_that_was_idle_too_long_is_not_used_again(make: Make) -> None:
    async with (
        make(keepalive_expiry_s=0.05) as upstream,
        serving(answering(whole())) as it,
    ):
        await fetch(upstream, it.origin)
        await anyio.sleep(0.1)
        await fetch(upstream, it.origin)
        assert it.server.connections == 2


async def test_no_more_idle_connections_are_kept_than_allowed(make: Make) -> None:
    async with make(max_idle_per_origin=1) as upstream, serving(answering(whole())) as it:
        responses = [await send(upstream, it.origin) for _ in range(3)]
        for response in responses:
            assert await response.read(LIMIT) == b"ok"
            response.close()
        await it.server.settled(open_connections=1)
        assert it.server.connections == 3


# the bound on connections


async def test_a_call_waits_for_a_place_and_gets_it(make: Make) -> None:
    async with (
        make(max_connections_per_origin=1) as upstream,
        serving(answering(whole())) as it,
        anyio.create_task_group() as tasks,
    ):
        first = await send(upstream, it.origin)
        tasks.start_soon(fetch, upstream, it.origin)
        tasks.start_soon(fetch, upstream, it.origin)
        await anyio.sleep(0.05)
        assert len(it.server.requests) == 1
        await first.read(LIMIT)
        first.close()
    assert len(it.server.requests) == 3


async def test_a_call_that_gets_no_place_in_time_is_refused_as_overload(make: Make) -> None:
    async with make(max_connections_per_origin=1) as upstream, serving(answering(whole())) as it:
        first = await send(upstream, it.origin)
        with pytest.raises(EngineOverloaded):
            await send(upstream, it.origin, connect_s=0.05)
        await first.read(LIMIT)
        first.close()
        assert await fetch(upstream, it.origin) == b"ok"


async def test_a_place_is_free_again_after_every_failure(make: Make) -> None:
    async with (
        make(max_connections_per_origin=1) as upstream,
        serving(silent, _ends("reset"), answering(b"rubbish\r\n\r\n"), answering(whole())) as it,
    ):
        for failure in (EngineSilent, ConnectionLost, EngineFault):
            with pytest.raises(failure):
                await send(upstream, it.origin, first_byte_s=0.2)
        assert await fetch(upstream, it.origin) == b"ok"


# TLS


async def test_an_engine_with_a_certificate_of_our_authority_is_trusted(
    upstream: Upstream, tmp_path: Path
) -> None:
    tls, ca_file = certified("127.0.0.1", tmp_path)
    body = b"x" * 900_000
    async with serving(answering(whole(body)), tls=tls, ca_file=ca_file) as it:
        assert await fetch(upstream, it.origin) == body
        assert await fetch(upstream, it.origin) == body
    assert it.server.connections == 1


async def test_a_stream_over_tls_arrives_piece_by_piece(upstream: Upstream, tmp_path: Path) -> None:
    tls, ca_file = certified("127.0.0.1", tmp_path)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, chunk(b"one"))
        await go_on.wait()
        await peer.send(chunk(b"two"), LAST_CHUNK)

    go_on = asyncio.Event()
    async with serving(script, tls=tls, ca_file=ca_file) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        await sink.has(3)
        go_on.set()
        assert await sink.end() is None
        assert sink.body == b"onetwo"
        response.close()


async def test_a_certificate_of_a_stranger_is_not_trusted(
    upstream: Upstream, tmp_path: Path
) -> None:
    tls, _ = certified("127.0.0.1", tmp_path)
    async with serving(answering(whole()), tls=tls) as it:
        with pytest.raises(EngineUnreachable):
            await fetch(upstream, it.origin)
    assert it.server.requests == []


async def test_a_certificate_of_another_host_is_not_trusted(
    upstream: Upstream, tmp_path: Path
) -> None:
    tls, ca_file = certified("engine.example", tmp_path)
    async with serving(answering(whole()), tls=tls, ca_file=ca_file) as it:
        with pytest.raises(EngineUnreachable):
            await fetch(upstream, it.origin)
    assert it.server.requests == []


async def test_an_engine_that_does_not_speak_tls_is_unreachable(
    upstream: Upstream, tmp_path: Path
) -> None:
    _, ca_file = certified("127.0.0.1", tmp_path)

    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with serving(script) as it:
        origin = Origin("https", "127.0.0.1", it.origin.port, "", str(ca_file))
        with pytest.raises(EngineUnreachable):
            await send(upstream, origin, connect_s=3)


async def test_an_authority_that_cannot_be_read_is_unreachable(
    upstream: Upstream, tmp_path: Path
) -> None:
    origin = Origin("https", "127.0.0.1", 9, "", str(tmp_path / "absent.pem"))
    with pytest.raises(EngineUnreachable):
        await send(upstream, origin)


# leaving early


async def _endless(peer: Peer) -> None:
    await peer.request()
    await peer.send(CHUNKED, chunk(b"first"))
    await peer.gone()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_closing_in_the_middle_of_a_stream_closes_the_socket_at_once(
    upstream: Upstream, tmp_path: Path, secure: bool
) -> None:
    tls, ca_file = certified("127.0.0.1", tmp_path) if secure else (None, None)
    async with serving(_endless, tls=tls, ca_file=ca_file) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        await sink.has(5)
        response.close()
        with anyio.fail_after(1):
            await it.server.peers[0].is_gone.wait()
        response.close()
    assert sink.endings == []


async def test_closing_before_the_body_is_wanted_closes_the_socket_at_once(
    upstream: Upstream,
) -> None:
    async with serving(_endless) as it:
        response = await send(upstream, it.origin)
        response.close()
        with anyio.fail_after(1):
            await it.server.peers[0].is_gone.wait()


async def test_a_sink_that_closes_gets_nothing_more(upstream: Upstream) -> None:
    class Closing(Sink):
        @override
        def data(self, piece: bytes) -> None:
            super().data(piece)
            response.close()

    async with serving(sending(CHUNKED, chunk(b"one"), LAST_CHUNK)) as it:
        response = await send(upstream, it.origin)
        sink = Closing()
        response.deliver(sink)
        await sink.has(3)
        await it.server.settled()
    assert sink.pieces == [b"one"]
    assert sink.endings == []


async def test_cancelling_a_read_drops_the_connection(upstream: Upstream) -> None:
    async with serving(_endless, answering(whole())) as it:
        response = await send(upstream, it.origin)
        with anyio.move_on_after(0.05) as scope:
            await response.read(LIMIT)
        assert scope.cancelled_caught
        response.close()
        await it.server.settled()
        assert await fetch(upstream, it.origin) == b"ok"
    assert it.server.connections == 2


# slow clients


async def test_pausing_stops_the_engine_and_resuming_lets_it_go_on(upstream: Upstream) -> None:
    piece = chunk(b"x" * 65536)
    sent = 0
    has_stopped = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(CHUNKED)
        sent = await peer.flood(piece)
        has_stopped.set()
        await peer.send(LAST_CHUNK)

    class Pausing(Sink):
        @override
        def data(self, piece: bytes) -> None:
            super().data(piece)
            if len(self.pieces) == 1:
                response.pause()
                response.pause()

    async with serving(script) as it:
        response = await send(upstream, it.origin)
        sink = Pausing()
        response.deliver(sink)
        with anyio.fail_after(8):
            await has_stopped.wait()
        assert len(sink.pieces) == 1
        assert not sink.endings
        response.resume()
        response.resume()
        assert await sink.end() is None
        response.close()
    assert len(sink.body) > sent // len(piece) * 65536


async def test_closing_while_paused_closes_the_socket_at_once(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"x" * 65536))

    async with serving(script) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        response.pause()
        await anyio.sleep(0.02)
        response.close()
        await it.server.settled()
    assert sink.endings == []


async def test_closing_as_it_is_resumed_delivers_nothing_more(upstream: Upstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, chunk(b"first"))
        await go_on.wait()
        await peer.send(chunk(b"second"))

    go_on = asyncio.Event()
    async with serving(script) as it:
        response = await send(upstream, it.origin)
        sink = Sink()
        response.deliver(sink)
        await sink.has(5)
        response.pause()
        go_on.set()
        await anyio.sleep(0.05)
        response.resume()
        response.close()
        await it.server.settled()
    assert sink.body == b"first"
    assert sink.endings == []


async def test_an_engine_is_not_read_without_bound_before_anyone_wants_its_body(
    upstream: Upstream,
) -> None:
    taken = 0
    has_stopped = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal taken
        await peer.request()
        await peer.send(CHUNKED)
        taken = await peer.flood(chunk(b"x" * 65536))
        has_stopped.set()

    async with serving(script) as it:
        response = await send(upstream, it.origin)
        with anyio.fail_after(8):
            await has_stopped.wait()
        response.close()
        await it.server.settled()
    assert taken < 64 << 20


# cancelling


class _Cancelled(Generator[Any, Any, Any]):
    """Awaits something, and cancels its own task at the n-th suspension: in it, or as it ends."""

    def __init__(self, work: Awaitable[Any], step: int, *, as_it_ends: bool) -> None:
        self._work = work.__await__()
        self._steps_left = step
        self._as_it_ends = as_it_ends

    def __await__(self) -> Self:
        return self

    @override
    def send(self, value: Any) -> Any:
        return self._suspended(self._work.send(value))

    @override
    def throw(self, *failure: Any) -> Any:
        return self._suspended(self._work.throw(*failure))

    def _suspended(self, waited: Any) -> Any:
        self._steps_left -= 1
        task = asyncio.current_task()
        if self._steps_left or task is None:
            return waited
        if self._as_it_ends and waited is not None:
            waited.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()
        return waited


async def _cancelled_at(step: int, work: Awaitable[Any], *, as_it_ends: bool) -> bool:
    """Whether `work` was cancelled there; False when it was over before."""

    async def play() -> None:
        await _Cancelled(work, step, as_it_ends=as_it_ends)

    playing = asyncio.create_task(play())
    with anyio.fail_after(8):
        await asyncio.wait({playing})
    if not playing.cancelled():
        playing.result()
    return playing.cancelled()


async def _echo(peer: Peer) -> None:
    """Answer every request with its own target, the body apart from the head."""
    while True:
        request = await peer.request()
        body = request.target.encode()
        await peer.send(CHUNKED)
        await anyio.lowlevel.checkpoint()
        await peer.send(chunk(body[:2]))
        await anyio.lowlevel.checkpoint()
        await peer.send(chunk(body[2:]), LAST_CHUNK)


@pytest.mark.parametrize("as_it_ends", [False, True], ids=["in it", "as it ends"])
@pytest.mark.parametrize("is_warm", [False, True], ids=["fresh", "kept"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_cancelling_at_any_await_leaks_no_connection_and_mixes_no_answers(
    make: Make, tmp_path: Path, secure: bool, is_warm: bool, as_it_ends: bool
) -> None:
    tls, ca_file = certified("127.0.0.1", tmp_path) if secure else (None, None)
    async with serving(_echo, tls=tls, ca_file=ca_file) as it:
        was_cancelled, step = True, 0
        while was_cancelled:
            step += 1
            async with make(max_connections_per_origin=1) as upstream:
                if is_warm:
                    assert await fetch(upstream, it.origin, "/warm") == b"/warm"
                was_cancelled = await _cancelled_at(
                    step, fetch(upstream, it.origin, f"/cut/{step}"), as_it_ends=as_it_ends
                )
                # the one place there is must be free, and whoever holds it clean
                assert await fetch(upstream, it.origin, f"/next/{step}") == b"/next/%d" % step
                await it.server.settled(open_connections=1)
            await it.server.settled()
        assert step > 1


async def test_a_place_is_not_lost_when_its_waiter_leaves_as_it_is_called(make: Make) -> None:
    async with make(max_connections_per_origin=1) as upstream, serving(_echo) as it:
        was_cancelled, step = True, 0
        while was_cancelled:
            step += 1
            first = await send(upstream, it.origin, "/first")

            async def leave(first: UpstreamResponse = first) -> None:
                await anyio.sleep(0.01)
                await first.read(LIMIT)
                first.close()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(leave)
                work = fetch(upstream, it.origin, "/cut")
                was_cancelled = await _cancelled_at(step, work, as_it_ends=True)
                assert await fetch(upstream, it.origin, "/next", connect_s=2) == b"/next"
        assert step > 1


# closing


async def test_closing_the_upstream_closes_its_idle_connections(make: Make) -> None:
    async with serving(answering(whole())) as it:
        async with make() as upstream:
            responses = [await send(upstream, it.origin) for _ in range(3)]
            for response in responses:
                await response.read(LIMIT)
                response.close()
            assert it.server.open_connections == 3
        await it.server.settled()


async def test_a_response_that_outlives_the_upstream_closes_its_connection(make: Make) -> None:
    async with serving(_endless, answering(whole())) as it:
        async with make() as upstream:
            streaming = await send(upstream, it.origin)
            sink = Sink()
            streaming.deliver(sink)
            await sink.has(5)
            whole_one = await send(upstream, it.origin)
        streaming.close()
        whole_one.close()
        await it.server.settled()
    assert len(sink.endings) <= 1


async def test_an_upstream_that_closes_for_a_failure_shows_that_failure(make: Make) -> None:
    async with serving(answering(whole())) as it:

        async def fail() -> None:
            async with make() as upstream:
                await fetch(upstream, it.origin)
                raise LookupError("ours")

        with pytest.raises(LookupError, match="ours"):
            await fail()
        await it.server.settled()
