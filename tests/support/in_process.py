"""Simulated engines without sockets: an upstream whose answers are cut where a test says.

An engine says the same to the same request, so every answer is produced once and kept; what a
test sees is a piece of it. Thousands of cuts a minute can be tried like this.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel
import msgspec
from typing_extensions import override

from gateway.errors import ConnectionLost
from gateway.proxy.upstream.protocol import BodySink
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import FACES
from gateway.simulator.server import Request, Wire
from gateway.wire.http import Origin, UpstreamRequest
from tests.support.fake_clock import FakeClock

# after how many bytes; or who finds that out, from the whole answer
Cut = int | Callable[[bytes], int]


class _Tape(Wire):
    """Keeps an answer instead of sending it."""

    def __init__(self) -> None:
        self.left = anyio.Event()
        self.keep_alive = True
        self.has_head = False
        self.status = 0
        self.kind = b""
        self.body = b""

    @override
    def head(self, status: int, headers: Any, length: int | None) -> None:
        self.status, self.kind = status, headers.get("content-type", "").encode()

    @override
    def piece(self, data: bytes) -> None:
        self.body += data

    @override
    async def drain(self) -> None:
        await anyio.lowlevel.checkpoint()

    @override
    def end(self) -> None: ...


class _Answer:
    """An answer that breaks off after so many bytes; None: it is whole."""

    def __init__(
        self,
        tape: _Tape,
        cut: int | None,
        pieces: random.Random | None,
        on_cut: Callable[[], None],
    ) -> None:
        self._on_cut = on_cut
        self.status = tape.status
        self._tape = tape
        self._cut = cut
        self._rng = pieces

    def header(self, name: bytes) -> bytes | None:
        return self._tape.kind if name == b"content-type" else None

    async def read(self, limit_bytes: int) -> bytes:
        if self._cut is not None:
            self._on_cut()
            raise ConnectionLost("cut")
        return self._tape.body

    def deliver(self, sink: BodySink) -> None:
        body = self._tape.body if self._cut is None else self._tape.body[: self._cut]
        at = 0
        while at < len(body):
            size = len(body) if self._rng is None else self._rng.choice((1, 40, 300, 2000))
            sink.data(body[at : at + size])
            at += size
        is_cut = self._cut is not None and self._cut < len(self._tape.body)
        if is_cut:
            self._on_cut()
        sink.ended(ConnectionLost("cut") if is_cut else None)

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


class InProcess:
    """An upstream of equal engines. The first answers are cut as `cuts` say, the others whole."""

    def __init__(self, options: EngineOptions) -> None:
        self.options = replace(
            options, inter_token_s=0.0, inter_token_s_per_running=0.0, prefill_s_per_token=0.0
        )
        self.cuts: list[Cut] = []
        self.pieces: random.Random | None = None
        # a field that is as if it were not there; requests with one of these are refused
        self.ignores = ""
        self.refuses: tuple[str, ...] = ()
        self.hangs = 0  # which request is never answered
        self.on_cut: Callable[[], None] = lambda: None
        self.sent: list[dict[str, Any]] = []
        self._tapes: dict[tuple[str, bytes], _Tape] = {}

    async def send(
        self,
        origin: Origin,
        request: UpstreamRequest,
        *,
        connect_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None = None,
    ) -> _Answer:
        self.sent.append(json.loads(request.body))
        if len(self.sent) == self.hangs:
            await anyio.sleep_forever()
        asked = {name: it for name, it in self.sent[-1].items() if name != self.ignores}
        if any(name in asked for name in self.refuses):
            asked["max_tokens"] = -1
        request = msgspec.structs.replace(request, body=json.dumps(asked).encode())
        cut = self.cuts.pop(0) if self.cuts else None
        key = (request.path, request.body)
        if key not in self._tapes:
            self._tapes[key] = await _recorded(self.options, request)
        self._last = self._tapes[key]
        if callable(cut):
            cut = cut(self._last.body)
        return _Answer(self._last, cut, self.pieces, self.on_cut)

    def whole(self) -> bytes:
        """The last answer, as it would have been uncut."""
        return self._last.body

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


async def _recorded(options: EngineOptions, request: UpstreamRequest) -> _Tape:
    engine = SimulatedEngine(options, FakeClock(), random.Random(0))
    face = FACES[options.engine](engine)
    headers = {name.decode(): value.decode() for name, value in (*request.headers, *request.fixed)}
    tape = _Tape()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        asked = Request(request.method, request.path, "", headers, request.body)
        await face.handle(asked, tape)
        tasks.cancel_scope.cancel()
    return tape
