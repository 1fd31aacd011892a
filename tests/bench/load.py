"""The load: keep-alive connections that ask again as soon as they are answered.

It is a process of its own: reads a `Plan` as JSON from stdin, writes a `Result` as JSON to
stdout. Times are taken when the bytes arrive, before they are parsed.
"""

import asyncio
import gc
import json
import re
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

import httptools
import uvloop
from typing_extensions import override

_SENT = re.compile(rb"@(\d{19})@")
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send. `rounds` of streams on each connection, or requests for `seconds`.

    Connections open evenly over `spread_s`; `chunks` is what a whole stream must bring, 0 for
    answers that are not streamed. After `limit_s` everything ends, done or not.
    """

    port: int
    connections: int
    body_bytes: int
    limit_s: float
    seconds: float = 0.0
    rounds: int = 0
    chunks: int = 0
    spread_s: float = 0.0
    model: str = "m"
    key: str = "sk-bench"

    @property
    def is_streamed(self) -> bool:
        return self.chunks > 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came back. Of no chunks or answers the times are 0; `error` is the first one's words."""

    done: int
    errors: int
    error: str | None
    seconds: float
    latency_p50_us: float
    latency_p99_us: float
    chunks: int = 0
    missing: int = 0
    ttft_p50_ms: float = 0.0
    ttft_p99_ms: float = 0.0
    late_p50_ms: float = 0.0
    late_p99_ms: float = 0.0
    late_max_ms: float = 0.0


@dataclass(slots=True)
class Tally:
    """What all connections have seen. Times in nanoseconds, `sent` and `late` pair by pair."""

    latency: "array[int]" = field(default_factory=lambda: array("q"))
    ttft: "array[int]" = field(default_factory=lambda: array("q"))
    sent: "array[int]" = field(default_factory=lambda: array("q"))
    late: "array[int]" = field(default_factory=lambda: array("q"))
    all_began_ns: int = 0
    first_ended_ns: int = sys.maxsize
    whole_chunks: int = 0
    errors: int = 0
    error: str | None = None

    def failed(self, why: str) -> None:
        self.errors += 1
        self.error = self.error or why

    def stream_ended(self, chunks: int, expected: int, now_ns: int) -> None:
        self.whole_chunks += min(chunks, expected)
        self.first_ended_ns = min(self.first_ended_ns, now_ns)
        if chunks != expected:
            self.failed(f"a stream brought {chunks} chunks, the engine sent {expected}")


def request_bytes(plan: Plan) -> bytes:
    """One chat request with a body of about `body_bytes`, in messages of 2 KB at most."""
    text = ("lorem ipsum dolor sit amet, consectetur " * 51)[:2000]
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    left = plan.body_bytes - 200
    while left > 0:
        role = "user" if len(messages) % 2 else "assistant"
        messages.append({"role": role, "content": text[:left]})
        left -= len(text) + 32
    body: dict[str, object] = {"model": plan.model, "messages": messages, "temperature": 0.7}
    if plan.is_streamed:
        body["stream"] = True
    encoded = json.dumps(body, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        f"host: 127.0.0.1:{plan.port}\r\n"
        "user-agent: OpenAI/Python 2.0.0\r\n"
        f"authorization: Bearer {plan.key}\r\n"
        "content-type: application/json\r\n"
        "accept: application/json\r\n"
        f"content-length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded


class LoadConnection(asyncio.Protocol):
    """Sends the request until `more` says no; then `over` is set, as when it is cut off."""

    def __init__(self, load: "Load") -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked = 0
        self._load = load
        self._tally = load.tally
        self._chunks = load.plan.chunks
        self._parser = httptools.HttpResponseParser(self)
        self._asked_ns = 0
        self._now_ns = 0
        self._seen = 0
        self._status = 0
        self._unread = b""
        self._is_waiting = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_waiting:
            self._fail("the connection was closed before the answer was complete")
        self._end()

    @override
    def data_received(self, data: bytes) -> None:
        self._now_ns = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(f"the answer is not HTTP: {exc}")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._status != 200:
            self._unread += body
        elif self._chunks:
            self._read_events(body)

    def on_message_complete(self) -> None:
        if self._status != 200:
            words = self._unread[:200].decode(errors="replace")
            self._fail(f"answered {self._status}: {words}")
            return
        self._is_waiting = False
        self._tally.latency.append(self._now_ns - self._asked_ns)
        if self._chunks:
            self._tally.stream_ended(self._seen, self._chunks, self._now_ns)
        if not self._load.wants_more(self.asked):
            self._end()
        elif self._parser.should_keep_alive():
            self._ask()
        else:
            self._transport.close()

    def _ask(self) -> None:
        self.asked += 1
        self._seen = 0
        self._unread = b""
        self._is_waiting = True
        self._asked_ns = time.monotonic_ns()
        self._transport.write(self._load.request)

    def _read_events(self, body: bytes) -> None:
        text = self._unread + body if self._unread else body
        for found in _SENT.finditer(text):
            sent_ns = int(found[1])
            if not self._seen:
                self._tally.ttft.append(self._now_ns - self._asked_ns)
                self._tally.all_began_ns = max(self._tally.all_began_ns, self._now_ns)
            self._seen += 1
            self._tally.sent.append(sent_ns)
            self._tally.late.append(self._now_ns - sent_ns)
        # an event that is not whole yet
        self._unread = text[text.rfind(b"\n") + 1 :]

    def _fail(self, why: str) -> None:
        self._is_waiting = False
        self._tally.failed(why)
        self._tally.whole_chunks += min(self._seen, self._chunks)
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self._transport.close()


class Load:
    """All connections of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tally = Tally()
        self.request = request_bytes(plan)
        self._end_ns = 0

    def wants_more(self, asked: int) -> bool:
        """Whether a connection that has asked so often asks again."""
        return asked < self.plan.rounds or time.monotonic_ns() < self._end_ns

    async def run(self) -> Result:
        began_ns = time.monotonic_ns()
        self._end_ns = began_ns + int(self.plan.seconds * _NS_PER_S)
        try:
            async with asyncio.timeout(self.plan.limit_s), asyncio.TaskGroup() as connections:
                for number in range(self.plan.connections):
                    after_s = self.plan.spread_s * number / self.plan.connections
                    connections.create_task(self._keep_asking(after_s))
        except TimeoutError:
            self.tally.failed(f"not done after {self.plan.limit_s:.0f} s")
        return self._result((time.monotonic_ns() - began_ns) / _NS_PER_S)

    async def _keep_asking(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        loop = asyncio.get_running_loop()
        asked, errors = 0, self.tally.errors
        while not asked or (self.wants_more(asked) and self.tally.errors == errors):
            try:
                _, connection = await loop.create_connection(
                    lambda: LoadConnection(self), "127.0.0.1", self.plan.port
                )
            except OSError as exc:
                self.tally.failed(f"cannot connect: {exc.strerror or exc}")
                return
            connection.asked += asked
            await connection.over
            asked = connection.asked

    def _result(self, seconds: float) -> Result:
        tally, plan = self.tally, self.plan
        # only while all streams run: their beginning and end are another load
        late = sorted(
            late
            for sent, late in zip(tally.sent, tally.late, strict=True)
            if tally.all_began_ns <= sent <= tally.first_ended_ns
        ) or sorted(tally.late)
        latency, ttft = sorted(tally.latency), sorted(tally.ttft)
        expected = plan.connections * plan.rounds * plan.chunks
        return Result(
            done=len(latency),
            errors=tally.errors,
            error=tally.error,
            seconds=seconds,
            latency_p50_us=quantile(latency, 0.5) / 1e3,
            latency_p99_us=quantile(latency, 0.99) / 1e3,
            chunks=len(tally.sent),
            missing=expected - tally.whole_chunks,
            ttft_p50_ms=quantile(ttft, 0.5) / 1e6,
            ttft_p99_ms=quantile(ttft, 0.99) / 1e6,
            late_p50_ms=quantile(late, 0.5) / 1e6,
            late_p99_ms=quantile(late, 0.99) / 1e6,
            late_max_ms=quantile(late, 1.0) / 1e6,
        )


def quantile(ordered: Sequence[int], part: float) -> float:
    """The value below which this part of the ordered values lies; 0 of none."""
    return ordered[int(part * (len(ordered) - 1))] if ordered else 0.0


if __name__ == "__main__":
    load = Load(Plan(**json.load(sys.stdin)))
    gc.freeze()
    gc.disable()
    json.dump(asdict(uvloop.run(load.run())), sys.stdout)
