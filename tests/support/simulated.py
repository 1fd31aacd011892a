"""One simulated engine on a real socket, asked over plain sockets: every byte can be looked at."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from gateway.clock import Clock
from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.faults import HEADER
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.raw_http import ask
from tests.support.running import until
from tests.support.transcripts import Answered, Asked, compact_json

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Hello world"}]
QUICK = EngineOptions(
    models=("sim",),
    inter_token_s=0.0,
    inter_token_s_per_running=0.0,
    prefill_s_per_token=0.0,
    answer_tokens=6,
)


@dataclass(frozen=True, slots=True)
class Simulated:
    """An engine that serves."""

    engine: SimulatedEngine
    patience_s: float = 5.0

    async def get(self, path: str, **headers: str) -> Answered:
        return await self.send(Asked("GET", path, _lines(headers)))

    async def post(self, path: str, body: object, **headers: str) -> Answered:
        """`body` as it is when it is text, else as JSON; underscores in header names are dashes."""
        text = body if isinstance(body, str) else compact_json(body)
        lines = _lines({"content-type": "application/json"} | headers)
        return await self.send(Asked("POST", path, lines, text))

    async def chat(self, fault: str = "", /, **fields: Any) -> Answered:
        """A chat completion; `fault` travels as header."""
        body: dict[str, object] = {"messages": HELLO} | fields
        return await self.post(CHAT, body, **({HEADER: fault} if fault else {}))

    async def complete(self, fault: str = "", /, **fields: Any) -> Answered:
        """A text completion."""
        body: dict[str, object] = {"prompt": "Hello world"} | fields
        return await self.post(COMPLETIONS, body, **({HEADER: fault} if fault else {}))

    async def send(self, asked: Asked) -> Answered:
        get = partial(ask, self.engine.url, asked, self.patience_s)
        with anyio.fail_after(self.patience_s + 5):
            return await anyio.to_thread.run_sync(get)

    async def until(self, outcome: str) -> None:
        """Wait until the last request has come to this end."""
        await until(lambda: self.engine.requests[-1].outcome == outcome, within_s=5)

    def is_idle(self) -> bool:
        """No request is open in the engine, and none of its memory is held."""
        return not self.engine.is_busy and self.engine.scheduler.cache.used == 0


@asynccontextmanager
async def an_engine(
    *, patience_s: float = 5.0, clock: Clock | None = None, **options: Any
) -> AsyncIterator[Simulated]:
    """A quick engine, unlike others in these options."""
    async with serve_engine(replace(QUICK, **options), clock=clock) as engine:
        yield Simulated(engine, patience_s)


def json_of(answered: Answered) -> Any:
    return json.loads(answered.body)


def events_of(answered: Answered) -> list[Any]:
    """The decoded events of a stream that ended with `[DONE]`."""
    *events, last = answered.events()
    assert last == b"[DONE]"
    return [json.loads(event) for event in events]


def text_of(events: Sequence[Mapping[str, Any]], index: int = 0) -> str:
    """What one choice of a stream says, chat or not."""
    choices = [
        choice for event in events for choice in event["choices"] if choice["index"] == index
    ]
    return "".join(
        (choice["delta"].get("content") if "delta" in choice else choice["text"]) or ""
        for choice in choices
    )


def finishes_of(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why the choices of a stream ended."""
    reasons = [choice["finish_reason"] for event in events for choice in event["choices"]]
    return [reason for reason in reasons if reason]


def _lines(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())
