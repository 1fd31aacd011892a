"""An upstream whose every await is a checkpoint: a test may cancel, fail or go on there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import anyio.lowlevel

from gateway.errors import GatewayError
from gateway.proxy.upstream.protocol import BodySink
from gateway.wire.http import Origin, UpstreamRequest

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")


@dataclass(slots=True)
class FakeResponse:
    """An answer: `pieces` are read, or delivered; `failure` ends the body instead of its end."""

    status: int = 200
    pieces: Sequence[bytes] = ()
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)
    failure: GatewayError | None = None
    ends: bool = True
    checkpoint: Callable[[str], None] = lambda _: None
    sink: BodySink | None = None
    closed: int = 0
    pressed: list[str] = field(default_factory=list)

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    async def read(self, limit_bytes: int) -> bytes:
        self.checkpoint("read")
        await anyio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        return b"".join(self.pieces)[:limit_bytes]

    def deliver(self, sink: BodySink) -> None:
        self.sink = sink
        for piece in self.pieces:
            sink.data(piece)
        if self.ends:
            sink.ended(self.failure)

    def pause(self) -> None:
        self.pressed.append("pause")

    def resume(self) -> None:
        self.pressed.append("resume")

    def close(self) -> None:
        self.closed += 1


class FakeUpstream:
    """Gives the scripted answers one after the other; an error is raised instead."""

    def __init__(self, *script: FakeResponse | GatewayError | Exception) -> None:
        self.sent: list[tuple[Origin, UpstreamRequest]] = []
        self.waits: list[tuple[float, float]] = []
        self.checkpoint: Callable[[str], None] = lambda _: None
        self._script = list(script)

    async def send(
        self,
        origin: Origin,
        request: UpstreamRequest,
        *,
        connect_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None = None,
    ) -> FakeResponse:
        self.sent.append((origin, request))
        self.waits.append((connect_s, first_byte_s))
        self.checkpoint("send")
        await anyio.lowlevel.checkpoint()
        if connected is not None:
            connected()
        told = self._script.pop(0)
        if isinstance(told, Exception):
            raise told
        told.checkpoint = self.checkpoint
        return told

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
