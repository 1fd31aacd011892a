"""What no server can time: the order of callbacks within one turn of the event loop."""

import asyncio
import zlib

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from gateway.errors import ConnectionLost, EngineFault, EngineSilent, GatewayError
from gateway.proxy.upstream.connection import MAX_HEAD_BYTES, Connection, Response
from tests.support.fake_transport import FakeTransport

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


class Sink:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.endings: list[GatewayError | None] = []

    def data(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def ended(self, failure: GatewayError | None) -> None:
        self.endings.append(failure)


class Bench:
    """A connection that a request was just sent on."""

    def __init__(self) -> None:
        self.freed: list[Connection] = []
        self.lost: list[Connection] = []
        self.transport = FakeTransport()
        self.connection = Connection(
            asyncio.get_running_loop(), self.freed.append, self.lost.append
        )
        self.connection.connection_made(self.transport)
        self.response = self.connection.begin(b"request")

    def receives(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)

    def is_lost(self, exc: Exception | None = None) -> None:
        self.connection.connection_lost(exc)

    def failure_of_head(self) -> BaseException | None:
        return self.response.head.exception()


async def read(response: Response, limit_bytes: int = 1 << 20) -> bytes:
    with anyio.fail_after(1):
        return await response.read(limit_bytes)


async def test_an_answer_frees_its_connection_when_closed() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    assert bench.transport.written == [b"request"]
    assert bench.response.head.done()
    assert await read(bench.response) == b"hello"
    assert bench.freed == []
    bench.response.close()
    bench.response.close()
    assert bench.freed == [bench.connection]
    assert not bench.transport.is_aborted


async def test_a_second_answer_in_the_same_segment_changes_nothing_and_spoils_the_connection() -> (
    None
):
    bench = Bench()
    bench.receives(ANSWER + b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nevil")
    assert bench.response.status == 200
    assert await read(bench.response) == b"hello"
    bench.response.close()
    assert bench.freed == []
    assert bench.transport.is_aborted


@pytest.mark.parametrize("more", [b"rubbish", b"HTTP/1.1 200 OK\r\nx"])
async def test_what_follows_an_answer_spoils_the_connection_not_the_answer(more: bytes) -> None:
    bench = Bench()
    bench.receives(ANSWER + more)
    assert await read(bench.response) == b"hello"
    bench.response.close()
    assert bench.freed == []


async def test_bytes_after_an_answer_spoil_the_connection_before_it_is_closed() -> None:
    bench = Bench()
    bench.receives(ANSWER, b"HTTP/1.1 200 OK\r\n")
    assert await read(bench.response) == b"hello"
    bench.response.close()
    assert bench.freed == []
    assert bench.transport.is_aborted


async def test_bytes_on_an_idle_connection_close_it() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    bench.response.close()
    bench.receives(ANSWER)
    assert bench.transport.is_aborted


async def test_bytes_before_any_request_close_the_connection() -> None:
    transport = FakeTransport()
    connection = Connection(asyncio.get_running_loop(), lambda _: None, lambda _: None)
    connection.connection_made(transport)
    connection.data_received(ANSWER)
    assert transport.is_aborted


async def test_a_request_that_was_not_taken_whole_spoils_the_connection() -> None:
    bench = Bench()
    bench.transport.unsent_bytes = 1
    bench.receives(ANSWER)
    bench.response.close()
    assert bench.freed == []


async def test_a_connection_lost_after_the_answer_is_not_freed() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    bench.is_lost()
    assert await read(bench.response) == b"hello"
    bench.response.close()
    assert bench.freed == []
    assert bench.lost == [bench.connection]


async def test_an_idle_connection_that_is_lost_says_so() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    bench.response.close()
    bench.is_lost()
    assert bench.lost == [bench.connection]


async def test_a_request_on_a_connection_that_is_gone_fails_at_once() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    bench.response.close()
    bench.is_lost()
    again = bench.connection.begin(b"again")
    assert isinstance(again.head.exception(), ConnectionLost)
    assert not bench.connection.has_received
    assert bench.transport.written == [b"request"]


async def test_a_connection_that_was_never_made_can_be_dropped_and_carries_nothing() -> None:
    connection = Connection(asyncio.get_running_loop(), lambda _: None, lambda _: None)
    connection.pause_reading()
    connection.resume_reading()
    connection.abort()
    assert isinstance(connection.begin(b"request").head.exception(), ConnectionLost)


async def test_part_of_a_head_counts_as_received() -> None:
    assert not Bench().connection.has_received
    bench = Bench()
    bench.receives(b"HTTP/1.1 2")
    assert bench.connection.has_received
    bench.is_lost()
    assert isinstance(bench.failure_of_head(), ConnectionLost)


async def test_why_a_connection_was_lost_is_kept_as_the_cause() -> None:
    bench = Bench()
    reset = ConnectionResetError()
    bench.is_lost(reset)
    failure = bench.failure_of_head()
    assert failure is not None
    assert failure.__cause__ is reset


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    bench = Bench()
    bench.receives(UNTIL_CLOSE + b"hel", b"lo")
    bench.is_lost()
    assert await read(bench.response) == b"hello"
    bench.response.close()
    assert bench.freed == []


async def test_silence_breaks_the_request() -> None:
    bench = Bench()
    bench.connection.expire()
    assert isinstance(bench.failure_of_head(), EngineSilent)
    assert bench.transport.is_aborted


async def test_a_head_that_comes_as_its_time_is_up_counts() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    bench.connection.expire()
    assert await read(bench.response) == b"hello"
    assert not bench.transport.is_aborted


async def test_silence_after_the_caller_has_left_breaks_nothing_more() -> None:
    bench = Bench()
    bench.response.close()
    bench.connection.expire()
    assert bench.transport.is_aborted
    assert not bench.response.head.done()


async def test_a_head_that_comes_after_the_caller_was_cancelled_is_dropped() -> None:
    bench = Bench()
    bench.response.head.cancel()
    bench.receives(ANSWER)
    bench.response.close()
    assert bench.freed == [bench.connection]


async def test_a_loss_after_the_caller_was_cancelled_is_dropped() -> None:
    bench = Bench()
    bench.response.head.cancel()
    bench.is_lost()
    assert bench.response.head.cancelled()


# heads


async def test_a_head_of_just_the_bound_is_taken_however_it_is_cut() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: %b\r\n\r\n" % (b"a" * (MAX_HEAD_BYTES - 60))
    whole = Bench()
    whole.receives(head)
    assert whole.failure_of_head() is None
    cut = Bench()
    cut.receives(*(head[at : at + 100] for at in range(0, len(head), 100)))
    assert cut.failure_of_head() is None


async def test_many_interim_answers_are_too_much() -> None:
    bench = Bench()
    bench.receives(b"HTTP/1.1 100 Continue\r\n\r\n" * 21)
    assert isinstance(bench.failure_of_head(), EngineFault)
    assert bench.transport.is_aborted


async def test_interim_answers_leave_no_headers() -> None:
    bench = Bench()
    bench.receives(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * 3 + ANSWER)
    assert bench.response.headers == {b"content-length": b"5"}


async def test_what_an_interim_answer_says_after_the_caller_has_left_is_dropped() -> None:
    bench = Bench()
    bench.response.close()
    bench.receives(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert bench.response.headers == {}


async def test_what_the_parser_says_when_nobody_asked_is_dropped() -> None:
    connection = Connection(asyncio.get_running_loop(), lambda _: None, lambda _: None)
    connection.on_header(b"x", b"1")
    connection.on_headers_complete()
    connection.on_message_complete()
    response = connection.begin(b"request")
    assert response.headers == {}
    assert isinstance(response.head.exception(), ConnectionLost)


async def test_trailers_are_not_headers() -> None:
    bench = Bench()
    bench.receives(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: 1\r\n\r\n")
    assert bench.response.header(b"x") is None
    assert await read(bench.response) == b""


async def test_a_broken_body_in_the_segment_of_the_head_still_shows_the_head() -> None:
    bench = Bench()
    bench.receives(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    assert bench.failure_of_head() is None
    with pytest.raises(EngineFault):
        await read(bench.response)


# reading


async def test_reading_waits_for_the_end() -> None:
    bench = Bench()
    bench.receives(HEAD + b"hello")
    async with anyio.create_task_group() as tasks:

        async def later() -> None:
            bench.receives(b"world")

        tasks.start_soon(later)
        assert await read(bench.response) == b"helloworld"


async def test_a_cancelled_read_may_be_followed_by_another() -> None:
    bench = Bench()
    bench.receives(HEAD + b"hello")
    with anyio.move_on_after(0):
        await bench.response.read(100)
    bench.receives(b"world")
    assert await read(bench.response) == b"helloworld"


async def test_the_end_may_come_as_the_reader_is_cancelled() -> None:
    bench = Bench()
    bench.receives(HEAD)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel_and_end() -> None:
                scope.cancel()
                await anyio.lowlevel.cancel_shielded_checkpoint()
                bench.receives(b"helloworld")

            tasks.start_soon(cancel_and_end)
            await bench.response.read(100)
    assert scope.cancelled_caught
    assert await read(bench.response) == b"helloworld"


async def test_a_body_that_nobody_reads_is_kept_to_a_bound_and_then_waits_in_the_socket() -> None:
    bench = Bench()
    bench.receives(UNTIL_CLOSE + b"x" * 200_000)
    assert bench.transport.is_reading()
    bench.receives(b"x" * 100_000)
    assert not bench.transport.is_reading()
    with pytest.raises(EngineFault, match="too large"):
        await read(bench.response, 299_999)
    sink = Sink()
    bench.response.deliver(sink)
    assert bench.transport.is_reading()
    assert [len(piece) for piece in sink.pieces] == [300_000]


async def test_a_body_over_the_limit_is_known_before_its_end() -> None:
    bench = Bench()
    bench.receives(HEAD)
    async with anyio.create_task_group() as tasks:

        async def later() -> None:
            bench.receives(b"hello")

        tasks.start_soon(later)
        with pytest.raises(EngineFault, match="too large"):
            await read(bench.response, 4)
    assert not bench.transport.is_reading()


# delivering


async def test_a_body_that_is_here_already_is_delivered_with_its_end() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    sink = Sink()
    bench.response.deliver(sink)
    assert sink.pieces == [b"hello"]
    assert sink.endings == [None]


async def test_a_body_that_broke_already_is_delivered_with_its_failure() -> None:
    bench = Bench()
    bench.receives(HEAD + b"hello")
    bench.is_lost()
    sink = Sink()
    bench.response.deliver(sink)
    assert sink.pieces == [b"hello"]
    [failure] = sink.endings
    assert isinstance(failure, ConnectionLost)


async def test_a_sink_that_closes_on_what_was_here_already_is_told_no_end() -> None:
    bench = Bench()

    class Closing(Sink):
        @override
        def data(self, piece: bytes) -> None:
            super().data(piece)
            bench.response.close()

    bench.receives(ANSWER)
    sink = Closing()
    bench.response.deliver(sink)
    assert sink.pieces == [b"hello"]
    assert sink.endings == []
    assert bench.freed == [bench.connection]


async def test_a_body_ends_once() -> None:
    bench = Bench()
    sink = Sink()
    bench.receives(HEAD)
    bench.response.deliver(sink)
    bench.receives(b"helloworld")
    bench.is_lost()
    bench.response.end(EngineFault("late"))
    assert sink.endings == [None]


async def test_nothing_is_delivered_after_closing() -> None:
    bench = Bench()
    sink = Sink()
    bench.receives(HEAD)
    bench.response.deliver(sink)
    bench.response.close()
    bench.response.body(b"late")
    bench.connection.leave(bench.response)
    assert sink.pieces == []
    assert bench.transport.is_aborted


async def test_pausing_and_resuming_are_told_to_the_transport_once() -> None:
    bench = Bench()
    bench.receives(HEAD)
    for _ in range(2):
        bench.response.pause()
        assert not bench.transport.is_reading()
    for _ in range(2):
        bench.response.resume()
        assert bench.transport.is_reading()


async def test_a_complete_answer_is_not_paused_so_that_its_connection_stays_watched() -> None:
    bench = Bench()
    bench.receives(ANSWER)
    bench.response.pause()
    assert bench.transport.is_reading()


async def test_a_connection_that_was_paused_is_free_to_read_again_when_given_back() -> None:
    class Pausing(Sink):
        @override
        def data(self, piece: bytes) -> None:
            bench.response.pause()

    bench = Bench()
    bench.receives(HEAD)
    bench.response.deliver(Pausing())
    bench.receives(b"helloworld")
    assert not bench.transport.is_reading()
    bench.response.close()
    assert bench.transport.is_reading()
    assert bench.freed == [bench.connection]


async def test_resuming_after_the_loss_asks_nothing_of_the_transport() -> None:
    bench = Bench()
    bench.receives(HEAD)
    bench.response.pause()
    bench.is_lost()
    bench.response.resume()
    bench.response.pause()
    assert not bench.transport.is_reading()


# compressed bodies


def _deflated(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


async def test_a_compressed_body_may_say_nothing_for_a_while() -> None:
    answer = _deflated(zlib.compress(b"hello"))
    bench = Bench()
    bench.receives(*(answer[at : at + 1] for at in range(len(answer))))
    assert await read(bench.response) == b"hello"


async def test_a_body_that_expands_beyond_measure_is_a_fault() -> None:
    bench = Bench()
    bomb = zlib.compress(bytes(80 << 20), 9)
    bench.receives(_deflated(bomb))
    with pytest.raises(EngineFault, match="compressed"):
        await read(bench.response, 100 << 20)
    assert bench.transport.is_aborted
