"""Faults of an engine in the middle of an answer, and oddities that are none."""

import gzip
from collections.abc import Iterator
from typing import Any

import anyio

from tests.chaos.fault import Answer, Ends, EngineFault, Play, told
from tests.chaos.faults_before_content import FAULT, SOON, STREAM, WHOLE
from tests.chaos.plays import (
    CONTENT,
    begun,
    breaks,
    error_event,
    hangs,
    refuses,
    repeats,
    spelled,
    stays,
    with_event,
)
from tests.support.scripted_server import LAST_CHUNK, Peer, chunk

BROKEN = "stream_broken"


async def _too_large_an_event(peer: Peer, answer: Answer) -> None:
    await peer.send(begun(answer))
    await anyio.sleep(0.05)
    await peer.send(told(b"data: " + b"x" * 100_000))


def _cut_chunks(it: Answer) -> bytes:
    return it.chunked + b"".join(chunk(it.body[i : i + 1]) for i in range(it.length)) + LAST_CHUNK


def _in_gzip(it: Answer) -> bytes:
    body = gzip.compress(it.body)
    return it.head(b"content-encoding: gzip", b"content-length: %d" % len(body)) + body


async def _drips(peer: Peer, answer: Answer) -> None:
    await peer.send(answer.chunked)
    for at in range(0, answer.length, 40):
        await peer.send(chunk(answer.body[at : at + 40]))
        await anyio.sleep(0.004)
    await peer.send(LAST_CHUNK)


def in_the_middle() -> Iterator[EngineFault]:
    def resumed(number: str, name: str, play: Play, code: str = BROKEN, **more: Any) -> EngineFault:
        return EngineFault(number, name, Ends.RESUMED, play, code, of=STREAM, **more)

    stalled: dict[str, Any] = {"code": "stream_stalled", "status": 504, "timeouts": SOON}
    yield resumed("E13", "resets between two events", breaks(begun, reset=True))
    yield resumed(
        "E13",
        "resets in the middle of an event",
        breaks(lambda it: begun(it) + chunk(it.events[CONTENT][:30]), reset=True),
    )
    yield resumed(
        "E13", "closes in the middle of a chunk", breaks(lambda it: begun(it) + b"400\r\ndata: {")
    )
    yield resumed("E14", "ends without a finish reason", breaks(lambda it: begun(it) + LAST_CHUNK))
    yield resumed(
        "E14",
        "says [DONE] without a finish reason",
        breaks(lambda it: begun(it) + told(b"data: [DONE]\n\n") + LAST_CHUNK),
    )
    yield resumed(
        "E15",
        "aborts",
        breaks(
            lambda it: (
                begun(it)
                + told(
                    b'data: {"choices":[{"index":0,"text":"","finish_reason":"abort"}]}\n\n',
                    b"data: [DONE]\n\n",
                )
                + LAST_CHUNK
            )
        ),
    )
    yield resumed(
        "E16",
        "sends an error event after content",
        breaks(lambda it: begun(it) + told(error_event(500)) + LAST_CHUNK),
        FAULT,
    )
    yield resumed("E17", "falls silent between two events", hangs(begun), **stalled)
    yield resumed(
        "E17",
        "falls silent in the middle of an event",
        hangs(lambda it: begun(it) + chunk(it.events[CONTENT][:30])),
        **stalled,
    )
    yield resumed(
        "E17",
        "sends comments for ever after content",
        repeats(begun, chunk(b": ping\n\n")),
        **stalled,
    )
    yield resumed(
        "E17", "sends blank lines for ever after content", repeats(begun, chunk(b"\n\n")), **stalled
    )
    yield resumed(
        "E19",
        "sends an event over the bound",
        _too_large_an_event,
        server={"max_event_bytes": 50_000},
    )
    yield resumed(
        "E23",
        "sends a chunk size that is no number after content",
        breaks(lambda it: begun(it) + b"zz\r\n"),
        FAULT,
    )
    yield EngineFault(
        "E22",
        "sends HTML in place of a stream",
        Ends.HIDDEN,
        refuses(b"200 OK", b"<html>10.0.0.7</html>", kind=b"text/html"),
        FAULT,
        of=STREAM,
    )
    yield EngineFault(
        "E22",
        "sends an answer in place of a stream",
        Ends.HIDDEN,
        refuses(b"200 OK", b'{"choices":[]}'),
        FAULT,
        of=STREAM,
    )


def harmless() -> Iterator[EngineFault]:
    def fine(
        number: str, name: str, play: Play, of: tuple[str, ...] = STREAM, **more: Any
    ) -> EngineFault:
        return EngineFault(number, name, Ends.ANSWERED, play, of=of, **more)

    yield fine(
        "E14",
        "leaves out [DONE]",
        breaks(lambda it: it.chunked + told(*it.events[:-1]) + LAST_CHUNK),
    )
    yield fine(
        "E14",
        "resets after the finish reason",
        breaks(lambda it: it.chunked + told(*it.events[:-1]), reset=True),
    )
    yield fine(
        "E14",
        "is silent after the usage",
        hangs(lambda it: it.chunked + told(*it.events[:-1])),
        timeouts=SOON,
    )
    yield fine("E14", "is silent after [DONE]", hangs(lambda it: it.chunked + told(*it.events)))
    yield fine(
        "E14",
        "says [DONE] twice",
        stays(lambda it: it.chunked + told(*it.events, b"data: [DONE]\n\n") + LAST_CHUNK),
    )
    yield fine(
        "E14",
        "goes on after [DONE]",
        stays(lambda it: it.chunked + told(*it.events, *it.events) + LAST_CHUNK),
    )
    yield fine(
        "E14",
        "sends an error after [DONE]",
        stays(lambda it: it.chunked + told(*it.events, error_event(500)) + LAST_CHUNK),
    )
    yield fine("E18", "sends forty bytes at a time", _drips)
    yield fine("E21", "sends every byte in a chunk of its own", stays(_cut_chunks))
    yield fine(
        "E21", "ends lines with CR LF", stays(spelled(lambda body: body.replace(b"\n", b"\r\n")))
    )
    yield fine("E21", "ends lines with CR", stays(spelled(lambda body: body.replace(b"\n", b"\r"))))
    yield fine(
        "E21", "begins with a byte order mark", stays(spelled(lambda body: b"\xef\xbb\xbf" + body))
    )
    yield fine("E21", "sends comments between events", stays(with_event(b": ping\n\n")))
    yield fine(
        "E21",
        "names and numbers its events",
        stays(spelled(lambda body: body.replace(b"data: {", b"event: message\nid: 7\ndata: {"))),
    )
    yield fine(
        "E20",
        "sends an event that is no UTF-8",
        stays(with_event(b'data: {"choices":[],"note":"\xff"}\n\n')),
    )
    yield fine("E20", "sends an event without data", stays(with_event(b"data:\n\n")))
    yield fine("E24", "compresses a stream that nobody asked it to", stays(_in_gzip))
    yield fine("E24", "compresses an answer that nobody asked it to", stays(_in_gzip), WHOLE)
    yield fine(
        "E25",
        "speaks HTTP/1.0",
        breaks(lambda it: it.head().replace(b"HTTP/1.1", b"HTTP/1.0") + it.body),
        ("stream", "whole"),
    )
    yield fine(
        "E25", "ends an answer with the connection", breaks(lambda it: it.head() + it.body), WHOLE
    )
    yield fine(
        "E25",
        "says 100 and 103 before the answer",
        stays(
            lambda it: (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: </a>\r\n\r\n"
                + it.sized
                + it.body
            )
        ),
        WHOLE,
    )
    yield fine(
        "E25",
        "sends trailers",
        stays(lambda it: it.chunked + told(*it.events) + b"0\r\nx-trailer: 1\r\n\r\n"),
    )
    yield fine(
        "E25",
        "goes on after a whole answer",
        stays(lambda it: it.sized + it.body + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
        WHOLE,
    )
    yield fine(
        "E4",
        "closes after an answer without saying so",
        breaks(lambda it: it.sized + it.body),
        WHOLE,
    )
