"""Two callers that send calls at a steady pace, answered or not, and what the engines can do.

Over the gateway's own transport: at hundreds of open calls a general HTTP client would itself be
what is overloaded.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from gateway.errors import GatewayError
from gateway.proxy.upstream.pool import PoolUpstream
from gateway.wire.http import Origin, UpstreamRequest
from tests.bench.overload.outcome import Offered

_MAX_BODY_BYTES = 1 << 20
_CONNECTIONS = 8192


@dataclass(frozen=True, slots=True)
class Pace:
    """A caller: so many calls a second, of so many tokens each."""

    name: str
    key: str
    per_s: float
    tokens: int


class Sender:
    """Sends calls to a port of this machine."""

    def __init__(self, upstream: PoolUpstream, port: int) -> None:
        self._upstream = upstream
        self._origin = Origin("http", "127.0.0.1", port)

    async def ask(self, tokens: int, model: str, key: str, patience_s: float) -> int:
        """The status; 0 where none came in time. An answer has exactly so many tokens."""
        messages = [{"role": "user", "content": "Tell me something."}]
        body = {"model": model, "messages": messages, "max_tokens": tokens, "ignore_eos": True}
        headers = (
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {key}".encode()),
            (b"x-request-timeout-ms", str(round(patience_s * 1000)).encode()),
        )
        request = UpstreamRequest(
            "POST", "/v1/chat/completions", headers=headers, body=json.dumps(body).encode()
        )
        with anyio.move_on_after(patience_s):
            try:
                response = await self._upstream.send(
                    self._origin, request, connect_s=patience_s, first_byte_s=math.inf
                )
                try:
                    await response.read(_MAX_BODY_BYTES)
                    return response.status
                finally:
                    response.close()
            except GatewayError:
                return 0
        return 0


def senders() -> PoolUpstream:
    return PoolUpstream(max_connections_per_origin=_CONNECTIONS, max_idle_per_origin=_CONNECTIONS)


async def offered(
    port: int, paces: Sequence[Pace], seconds: float, patience_s: float
) -> list[Offered]:
    """Send for so long, and wait for what is under way. A client waits `patience_s`."""
    found: list[Offered] = []
    async with senders() as upstream:
        sender = Sender(upstream, port)
        began_s = time.monotonic()

        async def call(pace: Pace) -> None:
            sent_s = time.monotonic()
            status = await sender.ask(pace.tokens, "m", pace.key, patience_s)
            took_s = time.monotonic() - sent_s
            found.append(Offered(pace.name, sent_s - began_s, status, took_s, pace.tokens))

        async def send(pace: Pace) -> None:
            for number in range(round(pace.per_s * seconds)):
                await anyio.sleep(max(0.0, began_s + number / pace.per_s - time.monotonic()))
                tasks.start_soon(call, pace)

        async with anyio.create_task_group() as tasks:
            for pace in paces:
                tasks.start_soon(send, pace)
    return found


async def capacity(ports: Sequence[int], at_once: int, tokens: int, seconds: float) -> float:
    """Tokens a second that the engines write with so many requests at once on each of them."""
    answers = 0
    async with senders() as upstream:
        began_s = time.monotonic()

        async def keep_asking(port: int) -> None:
            nonlocal answers
            while time.monotonic() < began_s + seconds:
                if await Sender(upstream, port).ask(tokens, "sim", "", 60) == 200:
                    answers += 1

        async with anyio.create_task_group() as tasks:
            for port in ports:
                for _ in range(at_once):
                    tasks.start_soon(keep_asking, port)
        # all places were full until the last round ended
        return answers * tokens / (time.monotonic() - began_s)
