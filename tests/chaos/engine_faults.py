"""Everything an engine can do wrong, one fault after the other."""

import gzip
from collections.abc import Callable, Iterator

import anyio

from tests.chaos.fault import Answer, Ends, EngineFault, Play, told
from tests.chaos.places import (
    a_host_without_address,
    a_plain_port_where_tls_is_due,
    an_expired_certificate,
    an_unknown_authority,
    nobody_listens,
    nobody_takes_connections,
    the_wrong_host,
)
from tests.support.scripted_server import LAST_CHUNK, Peer, chunk

STREAM, WHOLE = ("stream",), ("whole",)
SOON = {"first_byte_s": 1.0, "idle_s": 1.0}
_CONTENT = 4  # events before something breaks
UNREACHABLE, FAULT, BROKEN = "engine_unreachable", "engine_error", "stream_broken"


def says(*pieces: bytes, reset: bool = False) -> Play:
    """These bytes, then the end of the connection."""

    async def play(peer: Peer, _: Answer) -> None:
        await peer.send(*pieces)
        await _ends(peer, reset=reset)

    return play


def breaks(make: Callable[[Answer], bytes], *, reset: bool = False) -> Play:
    """Bytes made of the true answer, then the end of the connection."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))
        await _ends(peer, reset=reset)

    return play


def stays(make: Callable[[Answer], bytes]) -> Play:
    """Bytes made of the true answer; the connection stays open, and serves on."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))

    return play


def hangs(make: Callable[[Answer], bytes]) -> Play:
    """Bytes made of the true answer, then silence."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))
        await peer.gone()

    return play


def repeats(make: Callable[[Answer], bytes], piece: bytes, every_s: float = 0.05) -> Play:
    """Bytes made of the true answer, then the same piece for ever."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))
        while True:
            await anyio.sleep(every_s)
            await peer.send(piece)

    return play


def refuses(
    status: bytes, body: bytes = b"", *headers: bytes, kind: bytes = b"application/json"
) -> Play:
    """A status and a body, correctly framed."""
    length = b"content-length: %d" % len(body)
    return stays(lambda it: it.head(length, *headers, status=status, kind=kind) + body)


async def _ends(peer: Peer, *, reset: bool) -> None:
    if reset:
        await anyio.sleep(0.02)  # what was sent before a reset may be lost with it
        peer.reset()
    else:
        peer.close()


def begun(it: Answer) -> bytes:
    """The head and some content."""
    return it.chunked + told(*it.events[:_CONTENT])


def rest(it: Answer) -> bytes:
    """What follows after that."""
    return told(*it.events[_CONTENT:]) + LAST_CHUNK


def with_event(event: bytes) -> Callable[[Answer], bytes]:
    """The whole answer, with one more event in the middle."""
    return lambda it: begun(it) + told(event) + rest(it)


def spelled(change: Callable[[bytes], bytes]) -> Callable[[Answer], bytes]:
    """The whole stream, its bytes written in another way."""
    return lambda it: it.chunked + told(change(it.body)) + LAST_CHUNK


def error_event(code: int, message: str = "CUDA error: device-side assert at 10.0.0.7") -> bytes:
    return b'data: {"error":{"message":"%b","type":"E","code":%d}}\n\n' % (message.encode(), code)


def error_body(message: str = "something at 10.0.0.7 failed") -> bytes:
    return b'{"error":{"message":"%b","type":"E","param":null,"code":null}}' % message.encode(
        errors="surrogateescape"
    )


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


async def _too_large_an_event(peer: Peer, answer: Answer) -> None:
    await peer.send(begun(answer))
    await anyio.sleep(0.05)
    await peer.send(told(b"data: " + b"x" * 100_000))


def _before_headers() -> Iterator[EngineFault]:
    def hidden(
        number: str, name: str, play: Play, code: str = FAULT, **more: object
    ) -> EngineFault:
        return EngineFault(number, name, Ends.HIDDEN, play, code, **more)  # type: ignore[arg-type]

    yield hidden("E3", "resets before the headers", says(reset=True), UNREACHABLE)
    yield hidden("E5", "closes without a byte", says(), UNREACHABLE)
    yield hidden("E6", "sends half a status line", says(b"HTTP/1.1 20"), UNREACHABLE)
    yield hidden("E6", "sends no HTTP at all", says(b"SSH-2.0-OpenSSH_9.2\r\n"))
    yield hidden("E6", "sends a status that is no number", says(b"HTTP/1.1 abc OK\r\n\r\n"))
    yield hidden("E6", "sends a header without a name", says(b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"))
    yield hidden("E6", "sends a NUL in a header", says(b"HTTP/1.1 200 OK\r\na: \0\r\n\r\n"))
    yield hidden("E6", "sends headers of 70 KB", says(b"HTTP/1.1 200 OK\r\na: " + b"x" * 70_000))
    yield hidden(
        "E6",
        "sends headers without end",
        repeats(lambda _: b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 9999, 0),
    )
    yield hidden(
        "E7",
        "is silent before the headers",
        hangs(lambda _: b""),
        "engine_timeout",
        status=504,
        of=STREAM,
        timeouts=SOON,
    )
    yield hidden(
        "E8",
        "is silent after the headers",
        hangs(lambda it: it.chunked),
        "engine_timeout",
        status=504,
        of=STREAM,
        timeouts=SOON,
    )
    yield hidden(
        "E8",
        "sends comments for ever before content",
        repeats(lambda it: it.chunked, chunk(b": ping\n\n")),
        "engine_timeout",
        status=504,
        of=STREAM,
        timeouts=SOON,
    )
    yield hidden(
        "E8",
        "resets after the headers",
        breaks(lambda it: it.sized, reset=True),
        UNREACHABLE,
        of=WHOLE,
    )
    yield hidden(
        "E8", "resets before the first event", breaks(lambda it: it.chunked, reset=True), of=STREAM
    )
    for status in (b"500", b"502", b"504"):
        yield hidden(
            "E9", f"says {status.decode()} with an error", refuses(status + b" X", error_body())
        )
    yield hidden(
        "E9", "says 500 with bytes that are no UTF-8", refuses(b"500 X", error_body("\udcff"))
    )
    yield hidden("E9", "says 500 with nothing", refuses(b"500 X"))
    yield hidden(
        "E9",
        "says 500 with a page of HTML",
        refuses(b"500 X", b"<html>10.0.0.7", kind=b"text/html"),
    )
    yield hidden("E9", "says 500 with 300 KB", refuses(b"500 X", b"x" * 300_000))
    yield hidden(
        "E9",
        "says 500 and never finishes saying why",
        hangs(lambda it: it.head(b"content-length: 50", status=b"500 X") + b"{"),
        of=STREAM,
    )
    overloaded = {"code": "server_overloaded", "status": 503}
    yield hidden("E10", "says 429", refuses(b"429 X", error_body()), **overloaded)
    yield hidden(
        "E10",
        "says 503, and in how many seconds",
        refuses(b"503 X", b"", b"retry-after: 7"),
        **overloaded,
    )
    yield hidden(
        "E10",
        "says 503, and until which date",
        refuses(b"503 X", b"", b"retry-after: Wed, 21 Oct 2015 07:28:00 GMT"),
        **overloaded,
    )
    yield hidden(
        "E10",
        "says 503, and a senseless wait",
        refuses(b"503 X", b"", b"retry-after: -1e999"),
        **overloaded,
    )
    yield hidden(
        "E12",
        "begins a stream with an error",
        stays(lambda it: it.chunked + told(error_event(500)) + LAST_CHUNK),
        of=STREAM,
    )
    yield hidden(
        "E30",
        "shuts down",
        refuses(b"500 X", error_body("cannot schedule new futures after shutdown")),
        **overloaded,
    )
    yield hidden(
        "E31",
        "says in a stream that it is overloaded",
        stays(lambda it: it.chunked + told(error_event(503, "Model is overloaded")) + LAST_CHUNK),
        of=STREAM,
        **overloaded,
    )
    misconfigured = {"code": "engine_misconfigured", "status": 503}
    yield hidden(
        "E32",
        "does not have the model",
        refuses(b"404 X", error_body("The model `sim` does not exist.")),
        **misconfigured,
    )
    yield hidden(
        "E32", "refuses our key", refuses(b"401 X", error_body("Unauthorized")), **misconfigured
    )
    yield hidden("E26", "redirects", refuses(b"307 X", b"", b"location: http://127.0.0.1:9/v1"))
    yield hidden("E26", "redirects for ever", refuses(b"301 X", b"", b"location: /v1/completions"))


def _bodies() -> Iterator[EngineFault]:
    def hidden(
        number: str,
        name: str,
        make: Callable[[Answer], bytes],
        code: str = FAULT,
        *,
        reset: bool = False,
    ) -> EngineFault:
        return EngineFault(number, name, Ends.HIDDEN, breaks(make, reset=reset), code, of=WHOLE)

    half = slice(0, 40)
    yield hidden(
        "E13",
        "resets in the middle of an answer",
        lambda it: it.sized + it.body[half],
        UNREACHABLE,
        reset=True,
    )
    yield hidden(
        "E23",
        "sends less than the length it told",
        lambda it: it.sized + it.body[half],
        UNREACHABLE,
    )
    yield hidden(
        "E23",
        "ends in the middle of a chunk",
        lambda it: it.chunked + chunk(it.body)[:-9],
        UNREACHABLE,
    )
    yield hidden(
        "E23", "never sends the last chunk", lambda it: it.chunked + told(it.body), UNREACHABLE
    )
    yield hidden(
        "E23", "sends a chunk size that is no number", lambda it: it.chunked + b"zz\r\n" + it.body
    )
    yield hidden(
        "E23",
        "tells a length that is no number",
        lambda it: it.head(b"content-length: ten") + it.body,
    )
    yield hidden(
        "E23",
        "tells two lengths",
        lambda it: it.head(b"content-length: 5", b"content-length: %d" % it.length) + it.body,
    )
    yield hidden(
        "E23",
        "tells a length and sends chunks",
        lambda it: (
            it.head(b"content-length: 5", b"transfer-encoding: chunked")
            + told(it.body)
            + LAST_CHUNK
        ),
    )
    yield hidden(
        "E20", "sends half a JSON", lambda it: it.head(b"content-length: 40") + it.body[half]
    )
    yield hidden("E20", "sends no JSON", lambda it: it.head(b"content-length: 4") + b"nope")
    yield hidden("E20", "sends nothing", lambda it: it.head(b"content-length: 0"))
    yield hidden(
        "E20", "sends JSON that is no object", lambda it: it.head(b"content-length: 2") + b"[]"
    )
    yield hidden(
        "E20",
        "sends bytes that are no UTF-8",
        lambda it: (
            it.head(b"content-length: %d" % (it.length + 1))
            + it.body.replace(b'"text":"', b'"text":"\xff', 1)
        ),
    )
    yield hidden(
        "E22",
        "streams where nobody asked for a stream",
        lambda it: it.head(b"content-length: 14", kind=b"text/event-stream") + b"data: [DONE]\n\n",
    )
    yield hidden(
        "E24",
        "sends brotli, which nobody asked for",
        lambda it: it.head(b"content-encoding: br", b"content-length: 4") + b"\x0b\x01\x80a",
    )
    yield hidden(
        "E24",
        "says gzip, and sends none",
        lambda it: it.head(b"content-encoding: gzip", b"content-length: 4") + b"nope",
    )
    yield hidden("E24", "sends a gzip that grows to 100 MB", _bomb)
    yield hidden(
        "E19",
        "sends more than an answer may take",
        lambda it: it.head(b"content-length: 99999999999") + b" " * 300_000,
        UNREACHABLE,
    )


def _bomb(it: Answer) -> bytes:
    body = gzip.compress(b" " * 100_000_000, 1)
    return it.head(b"content-encoding: gzip", b"content-length: %d" % len(body)) + body


def _in_the_middle() -> Iterator[EngineFault]:
    def resumed(
        number: str, name: str, play: Play, code: str = BROKEN, **more: object
    ) -> EngineFault:
        return EngineFault(number, name, Ends.RESUMED, play, code, of=STREAM, **more)  # type: ignore[arg-type]

    stalled = {"code": "stream_stalled", "status": 504, "timeouts": SOON}
    yield resumed("E13", "resets between two events", breaks(begun, reset=True))
    yield resumed(
        "E13",
        "resets in the middle of an event",
        breaks(lambda it: begun(it) + chunk(it.events[_CONTENT][:30]), reset=True),
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
        hangs(lambda it: begun(it) + chunk(it.events[_CONTENT][:30])),
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


def _harmless() -> Iterator[EngineFault]:
    def fine(
        number: str, name: str, play: Play, of: tuple[str, ...] = STREAM, **more: object
    ) -> EngineFault:
        return EngineFault(number, name, Ends.ANSWERED, play, of=of, **more)  # type: ignore[arg-type]

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


def _final() -> Iterator[EngineFault]:
    for status, of in ((400, "400"), (413, "413"), (422, "422")):
        yield EngineFault(
            "E11",
            f"says {of} about the request",
            Ends.REFUSED,
            refuses(b"%d X" % status, error_body("max_tokens is too large")),
            status=status,
        )
    yield EngineFault(
        "E12",
        "begins a stream with a 400",
        Ends.REFUSED,
        stays(lambda it: it.chunked + told(error_event(400, "bad logit_bias")) + LAST_CHUNK),
        status=400,
        of=STREAM,
    )
    yield EngineFault(
        "E18",
        "takes longer than the call may",
        Ends.TOLD,
        hangs(lambda _: b""),
        "deadline_exceeded",
        504,
        WHOLE,
        timeouts={"total_s": 0.4},
    )


def _nowhere() -> Iterator[EngineFault]:
    for number, name, at in (
        ("E1", "refuses connections", nobody_listens),
        ("E2", "never takes a connection", nobody_takes_connections),
        ("E27", "has a certificate of an unknown authority", an_unknown_authority),
        ("E27", "has the certificate of another host", the_wrong_host),
        ("E27", "has a certificate that has expired", an_expired_certificate),
        ("E27", "speaks no TLS", a_plain_port_where_tls_is_due),
        ("E28", "has a name without an address", a_host_without_address),
    ):
        yield EngineFault(
            number, name, Ends.AVOIDED, code=UNREACHABLE, at=at, timeouts={"connect_s": 0.5}
        )


ENGINE_FAULTS: tuple[EngineFault, ...] = (
    *_nowhere(),
    *_before_headers(),
    *_bodies(),
    *_in_the_middle(),
    *_harmless(),
    *_final(),
)
