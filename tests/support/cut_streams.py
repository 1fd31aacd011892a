"""Streams whose engines break off where a test says, in one process and without waiting."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

import anyio

from gateway.engines import ENGINES
from gateway.fleet.state import FleetState
from gateway.limits.limiter import Limiter
from gateway.limits.memory_store import MemoryStore
from gateway.proxy.account import Bookkeeper
from gateway.proxy.attempt import Attempts, StreamBounds
from gateway.proxy.call import Call
from gateway.proxy.dialect import OpenAiDialect
from gateway.proxy.exchange import Exchange
from gateway.proxy.retry import RetryRules
from gateway.routing import POLICIES
from gateway.simulator.options import EngineOptions
from gateway.telemetry.logs import RequestLog
from gateway.telemetry.metrics import Metrics
from gateway.wire.ask import Operation
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.fake_client import FakeClient
from tests.support.fake_clock import FakeClock
from tests.support.in_process import Cut, InProcess

HELLO = [{"role": "user", "content": "Hello"}]
USAGE = {"stream_options": {"include_usage": True}}


@dataclass
class Told:
    """What a client of a stream has in the end."""

    text: str = ""
    ids: set[str] = field(default_factory=set)
    created: set[int] = field(default_factory=set)
    roles: int = 0
    finishes: list[str] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    is_done: bool = False


def told(body: bytes) -> Told:
    it = Told(is_done=body.endswith(b"data: [DONE]\n\n"))
    for event in body.split(b"\n\n"):
        if not event.startswith(b"data: {"):
            continue
        chunk = json.loads(event[6:])
        if "error" in chunk:
            it.error = chunk["error"]
            continue
        it.ids.add(chunk["id"])
        it.created.add(chunk["created"])
        it.usage = chunk.get("usage") or it.usage
        for choice in chunk["choices"]:
            assert not choice.get("token_ids")
            delta = choice.get("delta", choice)
            it.roles += "role" in delta
            it.text += delta.get("content") or delta.get("text") or ""
            it.finishes += [choice["finish_reason"]] if choice["finish_reason"] else []
    return it


class Fleet:
    """Three equal engines behind an exchange."""

    def __init__(self, engine: Any = "vllm", *, replicas: int = 3, **more: Any) -> None:
        options = EngineOptions(engine=engine, unicode=more.pop("unicode", True))
        self.upstream = InProcess(options)
        self.leaves = 0
        self.clock = FakeClock()
        self.lines = bytearray()
        self.metrics = Metrics()
        urls = [f"http://{name}.test:80" for name in "abcde"[:replicas]]
        variant = a_variant(None, *urls) | {"engine": engine, "served_model": "simulated"}
        self.states = FleetState(a_catalog(a_model("m", variants=[variant], **more)))
        books = Bookkeeper(self.metrics, RequestLog(self), self.clock, self.states)
        self.exchange = Exchange(
            fleet=self.states,
            engines=ENGINES,
            policies={name: new() for name, new in POLICIES.items()},
            attempts=Attempts(self.upstream, self.metrics, self.clock, StreamBounds()),
            books=books,
            retries=RetryRules(max_attempts=3, backoff_s=0.0, budget_floor=10**6),
            limiter=Limiter(MemoryStore(self.clock), self.metrics, self.clock),
            clock=self.clock,
            rng=random.Random(0),
        )

    def write(self, line: bytearray, /) -> None:
        self.lines += line

    @property
    def line(self) -> dict[str, Any]:
        """The log's last."""
        last: dict[str, Any] = json.loads(self.lines.splitlines()[-1])
        return last

    async def stream(self, *cuts: Cut, chat: bool = True, **fields: Any) -> Told:
        """One streamed call whose first answers are cut."""
        return told(await self.raw(*cuts, chat=chat, **fields))

    async def raw(self, *cuts: Cut, chat: bool = True, **fields: Any) -> bytes:
        self.upstream.cuts = list(cuts)
        self.upstream.sent.clear()
        asked = {"messages": HELLO} if chat else {"prompt": "Hello"}
        body = {"model": "m", "stream": True, "max_tokens": 24, "temperature": 0} | asked | fields
        operation = Operation.CHAT if chat else Operation.COMPLETION
        self.client = client = FakeClient()
        broken = 0

        def cut() -> None:
            nonlocal broken
            broken += 1
            if broken == self.leaves:
                client.abort()

        self.upstream.on_cut = cut
        raw = json.dumps(body).encode()
        call = Call(operation, OpenAiDialect(), raw, "id-1", self.clock.now_s())
        with anyio.fail_after(10):
            await self.exchange.run(call, client)
        assert [state.in_flight for state in self.states] == [0] * len(list(self.states))
        return client.body
