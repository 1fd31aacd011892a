"""Write a streamed answer, with a fault in it where one was asked for."""

import json

import anyio
import anyio.lowlevel

from gateway.simulator.faults import Fault
from gateway.simulator.server import Wire

_DRIP_S = 0.02


class Broken(Exception):
    """The fault has ended the answer; nothing more may be written."""


class Emitter:
    """Turns events into bytes. Counts the events with content, which faults refer to."""

    def __init__(self, wire: Wire, fault: Fault | None) -> None:
        self.wire = wire
        self._name = "" if fault is None else fault.name
        self._number = 0 if fault is None or not fault.value.isdigit() else fault.number
        self._content_events = 0
        self._body_bytes = 0

    async def begin(self) -> None:
        """Before the first chunk of all: nothing comes before content where that is the fault."""
        if self._content_events == 0 and self._name == "stall-before-content":
            await self._strike_before_content()

    async def event(self, data: str, *, content: bool = False) -> None:
        """One event. Raises Broken when the fault strikes."""
        if content:
            await self._strike_before_content()
            self._content_events += 1
        if self._name == "garbage" and self._content_events == 1 and content:
            await self._write(b"data: {not json\n\n")
        if self._name == "huge-event" and self._content_events == 1 and content:
            chunk = json.loads(data)
            chunk["padding"] = "x" * self._number
            data = json.dumps(chunk, separators=(",", ":"), ensure_ascii=False)
        end = b"\r\n\r\n" if self._name == "crlf" else b"\n\n"
        await self._write(b"data: " + data.encode(errors="replace") + end)

    async def done(self) -> None:
        """The event that closes OpenAI's streams."""
        if self._name != "no-done":
            await self.event("[DONE]")

    async def _strike_before_content(self) -> None:
        if self._content_events < self._number and self._name.endswith("-after"):
            return
        match self._name:
            case "stall-before-content" | "stall-after":
                await self.wire.left.wait()
                raise Broken
            case "reset-after":
                self.wire.reset()
                raise Broken
            case "truncate-after":
                self.wire.end()
                raise Broken
            case "abort-after" | "error-event-after":
                raise Broken
            case _:
                return

    async def _write(self, data: bytes) -> None:
        if self._name == "cut-at-byte" and self._body_bytes + len(data) > self._number:
            self.wire.piece(data[: self._number - self._body_bytes])
            await anyio.sleep(_DRIP_S)
            self.wire.reset()
            raise Broken
        self._body_bytes += len(data)
        size = {"split": max(1, self._number), "drip": 1}.get(self._name, len(data))
        for start in range(0, len(data), size):
            self.wire.piece(data[start : start + size])
            if self._name == "drip":
                await anyio.sleep(_DRIP_S)
            elif self._name == "split":
                await anyio.lowlevel.checkpoint()
        await self.wire.drain()
