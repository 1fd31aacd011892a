"""Faults of an engine that no client has to see: nothing of an answer has reached it."""

import gzip
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos.fault import Answer, Ends, EngineFault, Play, told
from tests.chaos.plays import breaks, error_body, error_event, hangs, refuses, repeats, says, stays
from tests.support.scripted_server import LAST_CHUNK, chunk

STREAM, WHOLE = ("stream",), ("whole",)
SOON = {"first_byte_s": 1.0, "idle_s": 1.0}
UNREACHABLE, FAULT = "engine_unreachable", "engine_error"


def before_headers() -> Iterator[EngineFault]:
    def hidden(number: str, name: str, play: Play, code: str = FAULT, **more: Any) -> EngineFault:
        return EngineFault(number, name, Ends.HIDDEN, play, code, **more)

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
    overloaded: dict[str, Any] = {"code": "server_overloaded", "status": 503}
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
    misconfigured: dict[str, Any] = {"code": "engine_misconfigured", "status": 503}
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


def bodies() -> Iterator[EngineFault]:
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
    yield EngineFault(
        "E24",
        "sends a gzip that grows to 100 MB",
        Ends.HIDDEN,
        breaks(_bomb),
        FAULT,
        of=WHOLE,
        is_large=True,
    )
    yield hidden(
        "E19",
        "sends more than an answer may take",
        lambda it: it.head(b"content-length: 99999999999") + b" " * 300_000,
        UNREACHABLE,
    )


def _bomb(it: Answer) -> bytes:
    body = gzip.compress(b" " * 100_000_000, 1)
    return it.head(b"content-encoding: gzip", b"content-length: %d" % len(body)) + body


def final() -> Iterator[EngineFault]:
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
