"""A fast fake engine: fixed answers, and streams whose chunks say when they were sent.

It speaks as vLLM does: a role and the first content at once, then one event per chunk at a
steady pace, a finish reason, usage where it was asked for, `[DONE]`. The content of a chunk is
the monotonic time in nanoseconds between two `@`: the clock is one for all processes of a
machine, so a client knows how late each chunk is.

`python -m tests.bench.engine PORT CHUNKS INTERVAL_MS`
"""

import asyncio
import gc
import json
import sys
import time
from typing import cast

import httptools
import uvloop
from typing_extensions import override

MODEL = "m"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"
_STREAM_HEAD = _HEAD % b"text/event-stream; charset=utf-8" + b"transfer-encoding: chunked\r\n\r\n"
_METRICS = b"""vllm:num_requests_running{model_name="m",engine="0"} 0.0
vllm:num_requests_waiting{model_name="m",engine="0"} 0.0
vllm:kv_cache_usage_perc{model_name="m",engine="0"} 0.0
"""


def _whole(content_type: bytes, body: bytes) -> bytes:
    length = b"content-length: %d\r\n\r\n" % len(body)
    return b"".join((_HEAD % content_type, length, body))


def _encoded(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _event(choices: list[object], **more: object) -> bytes:
    body = _encoded(
        id="chatcmpl-0123456789abcdef",
        object="chat.completion.chunk",
        created=1795433404,
        model=MODEL,
        choices=choices,
        **more,
    )
    return b"data: " + body + b"\n\n"


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> list[object]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


def _framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


_USAGE = {"prompt_tokens": 17, "total_tokens": 117, "completion_tokens": 100}
_ANSWER = _whole(
    b"application/json",
    _encoded(
        id="chatcmpl-0123456789abcdef",
        object="chat.completion",
        created=1795433404,
        model=MODEL,
        choices=[
            {
                "index": 0,
                "message": {"role": "assistant", "content": "answer " * 60},
                "finish_reason": "stop",
            }
        ],
        usage=_USAGE,
    ),
)
_MODELS = _whole(
    b"application/json",
    _encoded(
        object="list",
        data=[{"id": MODEL, "object": "model", "created": 1, "owned_by": "bench"}],
    ),
)
_ROLE = _framed(_event(_choice({"role": "assistant", "content": ""})))
_NOW = "0" * 19
_BEFORE, _AFTER = _framed(_event(_choice({"content": f"@{_NOW}@"}))).split(_NOW.encode())
_FINISH = _framed(_event(_choice({}, "stop")))
_COUNTED = _framed(_event([], usage=_USAGE))
_DONE = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class EngineConnection(asyncio.Protocol):
    """One connection; answers one request after the other."""

    def __init__(self, chunks: int, interval_s: float) -> None:
        self._chunks = chunks
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""
        self._sent = 0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"GET":
            self._transport.write(_to_a_get(self._url))
        elif b'"stream":true' in self._body or b'"stream": true' in self._body:
            self._sent = 0
            self._due_s = self._loop.time()
            self._transport.write(_STREAM_HEAD + _ROLE)
            self._next()
        else:
            self._transport.write(_ANSWER)

    def _next(self) -> None:
        if self._sent == self._chunks:
            usage = _COUNTED if b"include_usage" in self._body else b""
            self._transport.write(_FINISH + usage + _DONE)
            return
        self._sent += 1
        self._due_s += self._interval_s
        self._timer = self._loop.call_at(self._due_s, self._next)
        self._transport.write(b"%b%019d%b" % (_BEFORE, time.monotonic_ns(), _AFTER))


def _to_a_get(path: bytes) -> bytes:
    if path.startswith(b"/metrics"):
        return _whole(b"text/plain", _METRICS)
    return _MODELS if path.startswith(b"/v1/models") else _whole(b"application/json", b"{}")


async def serve(port: int, chunks: int, interval_s: float) -> None:
    """Answer until ended by a signal."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: EngineConnection(chunks, interval_s), "127.0.0.1", port, backlog=4096
    )
    gc.freeze()
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    port, chunks, interval_ms = (int(argument) for argument in sys.argv[1:])
    uvloop.run(serve(port, chunks, interval_ms / 1000))
