"""Streams outlive real engines: the text is the one that nobody disturbed.

One kill cuts many streams, each at another place. `SLUICEGATE_KILLS` asks for more kills with
each signal than the one that there is time for in the suite.
"""

import json
import os
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from gateway.fleet.replica_state import Lease
from tests.engines.conftest import StartAnother, need
from tests.engines.scenarios import SPLIT_CHARACTERS
from tests.support.counted import counted
from tests.support.engine_home import vllm_home
from tests.support.lossy_proxy import LossyProxy, a_lossy_proxy
from tests.support.ports import free_port
from tests.support.real_engines import RealEngine, TinyModels, running, start_vllm
from tests.support.running import Running, until
from tests.support.running import running as a_gateway

CUTS_BY_A_KILL = 26
KILLS = int(os.environ.get("SLUICEGATE_KILLS", "1"))
TOKENS = 900
_AT_ONCE = 20  # of them, that an engine must have begun when it is killed
_MANY = 1000  # calls that a replica seems to have when nothing shall begin there

Kill = Callable[[RealEngine], None]


class Told:
    """What came of one stream: read at its end, since who reads slowly is not cut where it is."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.has_begun = False
        self.ids: set[str] = set()
        self.roles = 0
        self.text = ""
        self.finishes: list[str] = []
        self.usage: dict[str, int] = {}

    def heard(self, piece: bytes) -> None:
        self.raw += piece
        said = piece.replace(b'"content":""', b"")
        self.has_begun = self.has_begun or b'"content":"' in said or b'"text":"' in said

    @property
    def is_done(self) -> bool:
        return self.raw.endswith(b"data: [DONE]\n\n")

    def read(self) -> None:
        for event in re.findall(rb"data: (\{.*\})\n\n", self.raw):
            chunk = json.loads(event)
            assert "error" not in chunk, chunk
            self.ids.add(chunk["id"])
            self.usage = chunk.get("usage") or self.usage
            for choice in chunk["choices"]:
                said = choice.get("delta", choice)
                self.roles += "role" in said
                self.text += said.get("content") or said.get("text") or ""
                self.finishes += [choice["finish_reason"]] if choice["finish_reason"] else []


@asynccontextmanager
async def gateway(kind: str, *urls: str) -> AsyncIterator[Running]:
    variant = {"engine": kind, "served_model": "tiny", "replicas": [{"url": url} for url in urls]}
    document = {
        # a machine that runs three engines may be late to answer a new connection
        "models": [{"name": "m", "variants": [variant], "timeouts": {"connect_s": 60}}],
        "health": {"consecutive_failures": 100},  # one replica breaks off all the time
    }
    async with a_gateway(document) as it:
        await until(lambda: all(state.is_usable for state in _states(it)), within_s=60)
        yield it


def _states(it: Running) -> list[Any]:
    return sorted(it.gateway.inference.exchange.fleet, key=lambda state: state.name)


async def streamed(client: httpx.AsyncClient, url: str, ask: dict[str, Any], told: Told) -> None:
    path = "/v1/completions" if "prompt" in ask else "/v1/chat/completions"
    body = ask | {"stream": True, "stream_options": {"include_usage": True}}
    async with client.stream("POST", url + path, json=body) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_raw():
            told.heard(piece)
    told.read()


async def all_streamed(url: str, asks: list[dict[str, Any]]) -> list[Told]:
    """Side by side, and to their ends."""
    told = [Told() for _ in asks]
    async with a_client() as client, anyio.create_task_group() as tasks:
        for ask, one in zip(asks, told, strict=True):
            tasks.start_soon(streamed, client, url, ask, one)
    return told


def a_client() -> httpx.AsyncClient:
    """One for all: each would take its time to come to be, and the streams would not overlap."""
    return httpx.AsyncClient(timeout=90, limits=httpx.Limits())


def asks_for(model: str, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Chats and completions of all kinds that can be resumed to the token."""
    asks: list[dict[str, Any]] = []
    for number in range(count):
        hello = f"Hello world {rng.randrange(10_000)}"
        ask: dict[str, Any] = {"model": model, "max_tokens": TOKENS, "temperature": 0}
        if number % 3 == 0:
            ask["prompt"] = hello
        else:
            ask["messages"] = [{"role": "user", "content": hello}]
        if number % 4 == 0:
            ask["stop"] = ["a stop string that never comes"]
        asks.append(ask)
    return asks


def with_a_stop(ask: dict[str, Any], text: str) -> dict[str, Any]:
    """The same, to be stopped late in the text that it has without."""
    starts = [len(text) * quarter // 4 for quarter in (3, 2, 1, 0)]  # some texts repeat themselves
    stop = next(
        text[at : at + 7]
        for start in starts
        for at in range(start, len(text) - 7)
        if text.index(text[at : at + 7]) == at
    )
    return ask | {"stop": [stop]}


@pytest.fixture(scope="module", params=range(KILLS))
def victims(tiny_models: TinyModels) -> Iterator[list[RealEngine]]:
    """Those that are to die, started side by side, as that takes its time."""
    need(vllm_home())
    dying = [start_vllm(free_port(), tiny_models.hugging_face, "tiny") for _ in range(2)]
    with running(*dying):
        yield dying


@pytest.fixture
def victim(tiny_models: TinyModels, victims: list[RealEngine]) -> Iterator[RealEngine]:
    """One that nobody has used; another is started where all have died."""
    if victims:
        yield victims.pop()
        return
    with running(start_vllm(free_port(), tiny_models.hugging_face, "tiny")) as (fresh,):
        yield fresh


@pytest.mark.parametrize("kill", [RealEngine.kill, RealEngine.terminate])
async def test_streams_of_a_vllm_that_dies_say_what_they_would_have_said(
    kill: Kill, victim: RealEngine, two_vllms: tuple[RealEngine, RealEngine]
) -> None:
    survivor = two_vllms[0]
    rng = random.Random(victim.url)
    asks = asks_for("tiny", CUTS_BY_A_KILL, rng)
    wanted = await all_streamed(survivor.url, asks)
    asks[1::5] = [
        with_a_stop(ask, one.text) for ask, one in zip(asks[1::5], wanted[1::5], strict=True)
    ]
    wanted[1::5] = await all_streamed(survivor.url, asks[1::5])
    assert [one.finishes for one in wanted].count(["stop"]) == len(asks[1::5])
    told = [Told() for _ in asks]
    async with gateway("vllm", victim.url, survivor.url) as it:
        states = _states(it)
        await until(lambda: all(state.is_usable for state in states), within_s=60)
        # the survivor looks busy, so all streams begin where they will be cut
        busy = [Lease(states[1]) for _ in range(_MANY)]
        async with a_client() as client, anyio.create_task_group() as tasks:
            for ask, one in zip(asks, told, strict=True):
                tasks.start_soon(streamed, client, it.url, ask | {"model": "m"}, one)
            with anyio.fail_after(120):
                await _compute_until_amid(victim, told, depth=rng.randrange(50_000))
            await anyio.to_thread.run_sync(kill, victim)
            victim.compute()
        for lease in busy:
            lease.release()
        await it.settled()
        lines = it.log.requests
    assert sum(line.get("resumes", 0) for line in lines) >= _AT_ONCE // 2
    assert [one.text for one in told] == [one.text for one in wanted]
    assert [one.usage for one in told] == [one.usage for one in wanted]
    assert [one.finishes for one in told] == [one.finishes for one in wanted]
    assert {(len(one.ids), one.is_done) for one in told} == {(1, True)}
    assert [one.roles for one in told] == ["messages" in ask for ask in asks]


async def _compute_until_amid(engine: RealEngine, told: list[Told], depth: int) -> None:
    """Most have begun, one of them so many bytes ago; the last may wait until the first end.

    The engine goes on when all is read, else it might be done before. It is left frozen.
    """
    begun: list[int] = []
    while len(begun) < _AT_ONCE or max(begun) < depth:
        engine.compute()
        time.sleep(0.005)  # noqa: ASYNC251  # awaited, it would be longer in a busy loop
        engine.freeze()
        read = -1
        while read != (now := sum(len(one.raw) for one in told)):
            read = now
            await anyio.sleep(0.02)
        begun = [len(one.raw) for one in told if one.has_begun]


async def test_what_vllm_says_to_one_does_not_depend_on_the_others(a_vllm: RealEngine) -> None:
    """Else the texts above could differ for no fault of a resume: here sums come out the same."""
    asks = asks_for("tiny", 12, random.Random(1))
    together = await all_streamed(a_vllm.url, asks)
    for ask, beside in list(zip(asks, together, strict=True))[:3]:
        (alone,) = await all_streamed(a_vllm.url, [ask])
        assert alone.text == beside.text


LONG_ASKS: dict[str, dict[str, Any]] = {
    "chat": {"messages": SPLIT_CHARACTERS},
    "logprobs": {"messages": SPLIT_CHARACTERS, "logprobs": True, "top_logprobs": 2},
    "stopped": {"messages": SPLIT_CHARACTERS, "stop": ["g wer m"]},
    "unbounded": {"messages": SPLIT_CHARACTERS, "max_tokens": None, "stop": ["g wer m"]},
    "completion": {"prompt": "Hello world"},
}


@pytest.mark.parametrize("ask", LONG_ASKS.values(), ids=LONG_ASKS)
async def test_vllms_answer_in_one_piece_is_the_same_when_fetched_as_a_stream(
    ask: dict[str, Any], two_vllms: tuple[RealEngine, RealEngine]
) -> None:
    await _compare_whole("vllm", ask, *[engine.url for engine in two_vllms])


@pytest.mark.parametrize("ask", LONG_ASKS.values(), ids=LONG_ASKS)
async def test_llama_servers_answer_in_one_piece_is_the_same_when_fetched_as_a_stream(
    ask: dict[str, Any], llama_server: RealEngine
) -> None:
    async with a_lossy_proxy(httpx.URL(llama_server.url).port or 0) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"  # the same server, as another replica
        await _compare_whole("llamacpp", ask, llama_server.url, url)


async def _compare_whole(kind: str, ask: dict[str, Any], *urls: str) -> None:
    ask = {"max_tokens": 200, "temperature": 0} | ask
    ask = {name: value for name, value in ask.items() if value is not None}
    path = "/v1/completions" if "prompt" in ask else "/v1/chat/completions"
    async with (
        gateway(kind, *urls) as it,
        httpx.AsyncClient(timeout=60) as client,
    ):
        whole = await client.post(urls[0] + path, json=ask | {"model": "tiny"})
        gathered = await client.post(it.url + path, json=ask | {"model": "m"})
        await it.settled()
        kept = counted(it.gateway.inference.exchange._books._metrics, "gateway_tokens", "type")
    assert gathered.status_code == 200
    assert _comparable(gathered.json()) == _comparable(whole.json())
    usage = whole.json()["usage"]
    assert kept["output"] == usage["completion_tokens"]


def _comparable(answer: dict[str, Any]) -> dict[str, Any]:
    """What is not of this very answer; what was in the cache is."""
    usage = answer["usage"]
    counts = {name: usage[name] for name in usage if name.endswith("_tokens")}
    own = ("id", "created", "model", "timings", "usage")
    same = {name: value for name, value in answer.items() if name not in own}
    return same | {"names": sorted(answer), "counts": counts, "usage names": sorted(usage)}


async def test_a_llama_servers_text_goes_on_behind_any_token(
    llama_server: RealEngine, start_another_llama_server: StartAnother
) -> None:
    """Nothing is lost or doubled: what comes is what the other says when told the text so far."""
    dying = start_another_llama_server()
    ask = {
        "model": "tiny",
        "messages": SPLIT_CHARACTERS,
        "max_tokens": 60,
        "temperature": 0,
        "cache_prompt": False,  # what was computed in other batches may tip the scales
    }
    async with a_lossy_proxy(httpx.URL(dying.url).port or 0) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        proxy.cut_after(10**9)
        (wanted,) = await all_streamed(url, [ask])
        events = list(re.finditer(rb"data: \{.*\}\n\n", proxy.passed))
        ends = [event.end() for event in events if b'"content":"' in event.group()]
        assert wanted.usage["completion_tokens"] > len(ends)  # some characters took several
        async with gateway("llamacpp", url, llama_server.url) as it:
            for end in ends[:-1]:
                await _cut_and_compare(it, proxy, llama_server, ask, end + 30)
        assert len(it.log.requests) == len(ends) - 1
        assert all(line.get("resumes") == 1 for line in it.log.requests)


async def _cut_and_compare(
    it: Running,
    proxy: LossyProxy,
    survivor: RealEngine,
    ask: dict[str, Any],
    at_byte: int,
) -> None:
    busy = [Lease(_states(it)[1]) for _ in range(_MANY)]
    proxy.cut_after(at_byte)
    (told,) = await all_streamed(it.url, [ask | {"model": "m"}])
    for lease in busy:
        lease.release()
    await it.settled()
    shown = Told()
    shown.raw += proxy.passed
    shown.read()
    said = shown.text.rstrip()
    rest = await _said_behind(survivor, ask, said, told)
    spaces = shown.text[len(said) :]
    assert told.text in (said + rest, shown.text + rest.removeprefix(spaces))
    assert (len(told.ids), told.roles, told.is_done) == (1, 1, True)
    assert told.finishes == ["length"]


async def _said_behind(engine: RealEngine, ask: dict[str, Any], said: str, told: Told) -> str:
    """What an engine says behind the beginning of an answer, as long as the told text is."""
    messages = [*ask["messages"], {"role": "assistant", "content": said}]
    (rest,) = await all_streamed(engine.url, [ask | {"messages": messages}])
    return rest.text[: max(0, len(told.text) - len(said))]
