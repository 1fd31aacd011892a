"""A whole gateway with limits in Redis, and what must be true of it after any fault."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

import gateway
from gateway.limits.redis_store import RedisStore
from gateway.proxy.upstream.pool import PoolUpstream
from gateway.simulator.engine import SimulatedEngine
from tests.chaos.purse import LOGIN, SECRET, Purse
from tests.support.counted import counted
from tests.support.limit_load import Opened
from tests.support.redis_servers import RedisServer
from tests.support.running import Running, running, until

PATH = "/v1/completions"
PROMPT = [11, 12, 13, 14, 15, 16, 17]
MAX_TOKENS = 16
_HOME = str(Path(gateway.__file__).parent)
_SETTLED_S = 5.0


def body(*, stream: bool, model: str = "m", max_tokens: int = MAX_TOKENS) -> dict[str, Any]:
    """A call whose prompt is tokens, so that what it costs is known to the token."""
    more = {"stream_options": {"include_usage": True}} if stream else {}
    asked = {"model": model, "prompt": PROMPT, "max_tokens": max_tokens, "temperature": 0}
    return asked | {"stream": stream} | more


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer, as a client read it. `text` is what was said until it ended or broke."""

    status: int
    text: str = ""
    is_whole: bool = False
    error: Mapping[str, Any] | None = None
    events: int = 0
    raw: bytes = b""

    @property
    def code(self) -> str | None:
        return None if self.error is None else self.error["code"]


def read(status: int, raw: bytes) -> Seen:
    """Raises ValueError for what is neither an answer nor an honest error."""
    if not raw.lstrip().startswith((b"data", b":", b"event", b"\xef\xbb\xbf")):
        told = json.loads(raw)
        if "error" in told:
            return Seen(status, error=_honest(told["error"]), raw=raw)
        return Seen(status, told["choices"][0]["text"], is_whole=True, raw=raw)
    text, events, error, is_done = "", 0, None, False
    for line in raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if is_done and line:
            raise ValueError(f"something follows the end: {line!r}")
        if not line.startswith(b"data: {"):
            is_done = is_done or line == b"data: [DONE]"
            continue
        chunk = json.loads(line[6:].decode(errors="replace"))
        if error is not None:
            raise ValueError(f"something follows the error: {line!r}")
        error = _honest(chunk["error"]) if "error" in chunk else None
        said = "".join(choice["text"] for choice in chunk.get("choices", ()))
        events += bool(said)
        text += said
    if is_done == (error is not None):
        raise ValueError(f"a stream ends with [DONE] or an error: {raw[-200:]!r}")
    return Seen(status, text, is_done, error, events, raw)


def _honest(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """OpenAI's fields, and nothing of the insides."""
    if set(error) != {"message", "type", "param", "code"} or not error["message"]:
        raise ValueError(f"not OpenAI's error: {error}")
    told = json.dumps(error)
    for inside in ("127.0.0.1", "10.0.0.7", "Traceback", ".py", SECRET, "<html", "CUDA"):
        if inside in told:
            raise ValueError(f"{inside} is nobody's business: {error}")
    return error


@dataclass(slots=True)
class Stage:
    """A gateway that serves `m`, whose callers pay into buckets of their own in Redis."""

    it: Running
    purse: Purse
    tasks: frozenset[asyncio.Task[Any]]

    def pays(self, tokens: int) -> None:
        """A call has cost so many tokens; 0: it was free."""
        self.purse.pays(tokens)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return self.it.log.requests

    def counted(self, counter: str, by: str = "outcome") -> dict[str, float]:
        return counted(self.it.gateway.books._metrics, counter, by)

    async def call(self, *, stream: bool, **more: Any) -> Seen:
        async with httpx.AsyncClient(timeout=20) as http:
            answer = await http.post(
                self.it.url + PATH, json=body(stream=stream, **more), headers=LOGIN
            )
        return read(answer.status_code, answer.content)

    async def assert_nothing_is_left(self) -> None:
        """No call, lease, connection, task or slot; and every token that was used is paid."""
        await self.it.settled(_SETTLED_S)
        await until(lambda: not self.busy_connections, _SETTLED_S)
        await until(lambda: not self.it.server.server_state.connections, _SETTLED_S)
        await until(lambda: not self.new_tasks, _SETTLED_S)
        assert self.gauge("gateway_requests_in_flight") == 0
        store = self.it.gateway.limiter.store
        assert isinstance(store, RedisStore)
        await Opened(store, store._metrics).is_done()
        assert self.gauge("gateway_limit_settlements_pending") == 0
        self.purse.assert_paid()

    @property
    def busy_connections(self) -> int:
        """Connections to engines that are open and not idle in the pool."""
        upstream = self.it.gateway.inference.exchange._attempts._upstream
        assert isinstance(upstream, PoolUpstream)
        return sum(place._open - len(place.idle) for place in upstream._places.values())

    @property
    def new_tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks of the gateway that were not there before; the test's own servers have theirs."""
        return [
            task
            for task in asyncio.all_tasks() - self.tasks
            if (file := _file_of(task)).startswith(_HOME) and "/simulator/" not in file
        ]

    def gauge(self, name: str) -> float:
        """The sum of a gauge."""
        lines = self.it.gateway.books._metrics.render().decode().splitlines()
        found = [line for line in lines if line.startswith((name + " ", name + "{"))]
        return sum(float(line.rpartition(" ")[2]) for line in found)


def _file_of(task: asyncio.Task[Any]) -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    return code.co_filename if code is not None else ""


@asynccontextmanager
async def a_stage(
    store: RedisServer,
    replicas: Sequence[Mapping[str, Any]],
    engines: Sequence[SimulatedEngine],
    *,
    direct: bool = True,
    redis_url: str = "",
    model: Mapping[str, Any] | None = None,
    variant: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[Stage]:
    """A gateway in front of these replicas, until left; then nothing of any call may be left.

    `redis_url`: the way to the store, where there is another than straight.
    """
    served = {"engine": "vllm", "served_model": "sim", "replicas": list(replicas)}
    document = {
        "models": [{"name": "m", "variants": [served | dict(variant or {})]} | dict(model or {})],
        **more,
    }
    with store.client() as client:
        purse = Purse(client)
        document |= purse.document(redis_url or store.url, **(limits or {}))
        async with running(document, engines, direct=direct) as it:
            stage = Stage(it, purse, frozenset(asyncio.all_tasks()))
            yield stage
            await stage.assert_nothing_is_left()
