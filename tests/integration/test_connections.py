"""A connection over its life: many requests, in order, and a client that leaves at any moment."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import anyio.lowlevel
import pytest

from gateway.api.connection import Connection
from gateway.simulator.options import EngineOptions
from tests.support.raw_client import PATIENCE_S, Answer, RawClient, a_client, chat, get, post
from tests.support.running import FAST, Running, a_gateway, until

SLOW = EngineOptions(models=("sim",), inter_token_s=0.1)
BAD = post(b"[]")
STREAM = post(chat(stream=True, max_tokens=3))


def what(answer: Answer) -> str:
    """The kind of an answer, in a word."""
    if answer.status != 200:
        return str(answer.error["code"] or answer.status)
    if answer.body.startswith(b"data:"):
        assert answer.body.endswith(b"data: [DONE]\n\n")
        return "stream"
    told = answer.json()
    return str(told.get("object") or told["status"])


CASES = {
    "chat.completion": post(chat()),
    "stream": STREAM,
    "ok": get("/health"),
    "list": get("/v1/models"),
    "400": BAD,
    "unsupported_content_type": post(chat(), content_type="text/plain"),
    "unknown_url": get("/nothing"),
}


@asynccontextmanager
async def leaving_nothing(it: Running) -> AsyncIterator[None]:
    """Afterwards there is no call, no lease, no connection and no task more than before."""
    tasks = len(asyncio.all_tasks())
    yield
    await it.settled()
    state = it.server.server_state
    await until(lambda: not state.connections and not state.tasks, within_s=2)
    await until(lambda: len(asyncio.all_tasks()) <= tasks, within_s=2)
    outcomes = [seen.outcome for seen in it.engine.requests]
    assert "open" not in outcomes


@pytest.mark.parametrize(
    "order",
    [
        ["chat.completion", "ok", "list"],
        ["chat.completion", "stream", "chat.completion"],
        ["stream", "list", "stream"],
        ["ok", "chat.completion", "list"],
        ["list", "400", "chat.completion", "unknown_url", "stream"],
        ["chat.completion", "400", "unsupported_content_type", "ok", "400"],
        ["unsupported_content_type", "chat.completion", "400", "400", "stream"],
        list(CASES) * 10,
    ],
    ids=lambda order: ",".join(order[:5]),
)
async def test_pipelined_requests_are_answered_in_order(order: list[str], direct: bool) -> None:
    engine = SLOW if len(order) < 10 else FAST
    async with a_gateway(engine, direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        await client.send(b"".join(CASES[kind] for kind in order))
        assert [what(await client.answer()) for _ in order] == order


async def test_a_request_may_come_in_pieces_while_the_one_before_runs(direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        await client.send(CASES["chat.completion"] + STREAM[:-10])
        await anyio.sleep(0.02)
        await client.send(STREAM[-10:] + get("/health"))
        kinds = [what(await client.answer()) for _ in range(3)]
    assert kinds == ["chat.completion", "stream", "ok"]


async def test_a_thousand_refusals_behind_a_slow_call_are_all_told(direct: bool) -> None:
    refusal = post(b"", content_type="text/plain")
    async with a_gateway(SLOW, direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        await client.send(post(chat()) + refusal * 1000)
        assert what(await client.answer()) == "chat.completion"
        for _ in range(1000):
            assert what(await client.answer()) == "unsupported_content_type"


async def test_a_length_refused_behind_a_slow_call_is_told_in_turn(direct: bool) -> None:
    body = b"x" * 5000
    server = {"max_body_bytes": 4000}
    async with (
        a_gateway(SLOW, direct=direct, server=server) as it,
        leaving_nothing(it),
        a_client(it) as client,
    ):
        chunked = post(transfer_encoding="chunked") + b"1388\r\n" + body + b"\r\n0\r\n\r\n"
        await client.send(post(chat()) + post(body) + chunked + post(chat()))
        kinds = [what(await client.answer()) for _ in range(4)]
    assert kinds == ["chat.completion", "request_too_large", "request_too_large", kinds[0]]


async def test_a_connection_serves_many_requests(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        for kind, request in list(CASES.items()) * 15:
            assert what(await (await client.send(request)).answer()) == kind
        assert len(it.server.server_state.connections) == 1


@pytest.mark.parametrize("kind", list(CASES))
async def test_a_client_that_asks_for_the_end_gets_it(kind: str, direct: bool) -> None:
    request = CASES[kind].replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
    async with a_gateway(direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        answer = await (await client.send(request)).answer()
        assert what(answer) == kind
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()


async def test_after_the_last_request_nothing_more_is_answered(direct: bool) -> None:
    last = CASES["chat.completion"].replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
    async with a_gateway(direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        await client.send(last + last + get("/health"))
        assert what(await client.answer()) == "chat.completion"
        assert await client.is_closed()


@pytest.mark.parametrize("request_", [post(chat(max_tokens=50)), STREAM])
async def test_a_client_that_closes_its_half_has_left(request_: bytes, direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct) as it, leaving_nothing(it):
        async with a_client(it) as client:
            await client.send(request_)
            await until(lambda: bool(it.engine.requests), within_s=2)
            await client.stream.send_eof()
            await client.rest()
        await until(lambda: bool(it.log.requests), within_s=2)
    assert it.log.requests[0]["outcome"] == "client_gone"


async def test_what_is_written_leaves_at_once(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, a_client(it) as client:
        assert what(await (await client.send(get("/health"))).answer()) == "ok"
        (connection,) = connections(it)
        served: socket.socket = connection.transport.get_extra_info("socket")
        assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_request_may_come_a_byte_at_a_time(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        request = post(chat())
        client.stream.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        for i in range(len(request)):
            await client.send(request[i : i + 1])
            await anyio.lowlevel.checkpoint()
        assert what(await client.answer()) == "chat.completion"


@pytest.mark.parametrize("sent", [post(length=10), post(length=10) + b"{", post(chat())[:-1]])
async def test_a_body_that_does_not_arrive_is_a_408(sent: bytes, direct: bool) -> None:
    async with (
        a_gateway(direct=direct, server={"body_read_s": 0.2}) as it,
        leaving_nothing(it),
        a_client(it) as client,
    ):
        answer = await (await client.send(sent)).answer()
        assert (answer.status, what(answer)) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"]
        assert await client.is_closed()


@pytest.mark.parametrize(
    "sent", [b"P", b"GET / HTTP/1.1\r\n", post(chat())[:60], post(chat()) + b"POST / HTT"]
)
async def test_a_head_that_does_not_arrive_is_a_408(sent: bytes, direct: bool) -> None:
    async with (
        a_gateway(direct=direct, server={"body_read_s": 0.2}) as it,
        leaving_nothing(it),
        a_client(it) as client,
    ):
        await client.send(sent)
        if sent.startswith(post(chat())):
            assert what(await client.answer()) == "chat.completion"
        answer = await client.answer()
        assert (answer.status, what(answer)) == (408, "request_timeout")
        assert await client.is_closed()


async def test_a_head_that_comes_slowly_is_read(direct: bool) -> None:
    async with (
        a_gateway(direct=direct, server={"body_read_s": 0.3}) as it,
        leaving_nothing(it),
        a_client(it) as client,
    ):
        request = post(chat())
        await client.send(request[:40])
        await anyio.sleep(0.05)
        await client.send(request[40:])
        assert what(await client.answer()) == "chat.completion"
        await anyio.sleep(0.4)
        assert what(await (await client.send(request)).answer()) == "chat.completion"


@pytest.mark.parametrize("direct", [True])
@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (post(length=5000), "request_too_large"),
        (post(transfer_encoding="chunked") + b"1388\r\n" + b"x" * 5000, "request_too_large"),
        (post(length=10, content_type="text/plain"), "unsupported_content_type"),
    ],
)
async def test_a_refused_body_that_never_ends_is_told_once_and_closed(
    request_: bytes, code: str, direct: bool
) -> None:
    server = {"body_read_s": 0.2, "max_body_bytes": 4000}
    async with (
        a_gateway(direct=direct, server=server) as it,
        leaving_nothing(it),
        a_client(it) as client,
    ):
        assert what(await (await client.send(request_)).answer()) == code
        assert await client.is_closed()


@pytest.mark.parametrize("direct", [True])
async def test_a_refused_body_that_breaks_is_told_once_and_closed(direct: bool) -> None:
    server = {"max_body_bytes": 4000}
    async with (
        a_gateway(direct=direct, server=server) as it,
        leaving_nothing(it),
        a_client(it) as client,
    ):
        await client.send(post(transfer_encoding="chunked") + b"1388\r\n" + b"x" * 5000)
        assert what(await client.answer()) == "request_too_large"
        await client.send(b"no chunk\r\n")
        assert await client.is_closed()


@pytest.mark.parametrize("direct", [True])
async def test_a_refusal_reaches_a_client_that_sends_on_and_wants_the_end(direct: bool) -> None:
    body = b"x" * 3_000_000
    server = {"max_body_bytes": 4000}
    async with (
        a_gateway(direct=direct, server=server) as it,
        leaving_nothing(it),
        a_client(it) as client,
    ):
        await client.send(post(body, connection="close"))
        assert what(await client.answer()) == "request_too_large"
        assert await client.is_closed()


MOMENTS = {
    "connected": b"",
    "blank line": b"\r\n",
    "half a head": post(chat())[:50],
    "half a body": post(chat())[:-20],
    "half a refused body": post(length=10**9) + b"x" * 1000,
    "half a body of an unknown path": post(b"x" * 10, "/nothing")[:-5],
    "before the first byte": post(chat(max_tokens=50)),
    "before the first byte of a stream": post(chat(stream=True, max_tokens=50)),
    "with a second request waiting": post(chat(max_tokens=5)) * 2,
    "with half a second request waiting": post(chat(max_tokens=50)) + STREAM[:-5],
    "with half a second head waiting": post(chat(max_tokens=50)) + STREAM[:20],
    "with many requests waiting": (post(chat(max_tokens=3)) + get("/health") + BAD) * 20,
}


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("moment", list(MOMENTS))
async def test_a_client_may_leave_at_any_moment(moment: str, reset: bool, direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        await client.send(MOMENTS[moment])
        if "chat" in str(MOMENTS[moment]) and "half a " not in moment:
            await until(lambda: bool(it.engine.requests), within_s=2)
        else:
            await anyio.sleep(0.02)
        leave(client, reset=reset)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_client_may_leave_in_the_middle_of_a_stream(reset: bool, direct: bool) -> None:
    request = post(chat(stream=True, max_tokens=500))
    async with a_gateway(SLOW, direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        await client.send(request * 3)
        await client.stream.receive()
        leave(client, reset=reset)
    assert [line["outcome"] for line in it.log.requests] == ["client_gone"]


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_client_may_leave_between_pipelined_answers(reset: bool, direct: bool) -> None:
    async with a_gateway(SLOW, direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        await client.send(post(chat(max_tokens=1)) + post(chat(max_tokens=500)) * 2)
        assert what(await client.answer()) == "chat.completion"
        leave(client, reset=reset)


def leave(client: RawClient, *, reset: bool) -> None:
    if reset:
        client.stream.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )


async def test_answers_that_nobody_reads_do_not_pile_up(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, leaving_nothing(it), a_client(it) as client:
        it.engine.inject("huge-event=300000")
        await client.send(STREAM * 60)
        await until(lambda: any(one.flow.write_paused for one in connections(it)), within_s=10)
        await anyio.sleep(0.3)
        (connection,) = connections(it)
        held = connection.transport.get_write_buffer_size()
        served = len(it.log.requests)
        assert [what(await client.answer()) for _ in range(60)] == ["stream"] * 60
        await it.settled()
    assert held < 1_000_000
    assert served < 60
    assert len(it.log.requests) == 60


def connections(it: Running) -> set[Connection]:
    return cast("set[Connection]", it.server.server_state.connections)


async def test_a_silent_connection_is_closed_after_a_while(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, leaving_nothing(it):
        it.server.config.timeout_keep_alive = 1
        async with a_client(it) as unused, a_client(it) as blank, a_client(it) as used:
            await blank.send(b"\r\n")
            assert what(await (await used.send(get("/health"))).answer()) == "ok"
            for client in (unused, blank, used):
                assert await client.is_closed()


async def test_a_client_that_stops_reading_is_let_go(direct: bool) -> None:
    async with a_gateway(direct=direct, server={"write_stall_s": 0.2}) as it, leaving_nothing(it):
        it.engine.inject("huge-event=14000000")
        async with a_client(it) as client:
            await client.send(post(chat(stream=True, max_tokens=3000)))
            await it.settled_calls(PATIENCE_S)
            await until(lambda: not it.server.server_state.tasks, within_s=2)
    assert it.log.requests[0]["outcome"] == "client_gone"
