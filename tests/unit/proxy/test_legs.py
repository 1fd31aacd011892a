import json
import random
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tests.support.counted import counted
from tests.support.fake_client import FakeClient
from tests.support.fake_clock import FakeClock
from tests.support.in_process import InProcess

HELLO = [{"role": "user", "content": "Hello"}]


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

    async def stream(self, *cuts: int, chat: bool = True, **fields: Any) -> Told:
        """One streamed call whose first answers are cut."""
        return told(await self.raw(*cuts, chat=chat, **fields))

    async def raw(self, *cuts: int, chat: bool = True, **fields: Any) -> bytes:
        self.upstream.cuts = list(cuts)
        self.upstream.sent.clear()
        asked = {"messages": HELLO} if chat else {"prompt": "Hello"}
        body = {"model": "m", "stream": True, "max_tokens": 24, "temperature": 0} | asked | fields
        operation = Operation.CHAT if chat else Operation.COMPLETION
        client = FakeClient()
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


USAGE = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize("engine", ["vllm", "tgi", "llamacpp"])
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("stop", [None, "jx", " ke"])
@given(cuts=st.lists(st.integers(0, 9000), min_size=1, max_size=2), in_pieces=st.booleans())
@settings(max_examples=110, deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_stream_cut_anywhere_is_one_undisturbed_answer(
    engine: str, chat: bool, stop: str | None, cuts: list[int], in_pieces: bool
) -> None:
    fleet = FLEETS.setdefault(engine, Fleet(engine))
    more = USAGE | ({} if stop is None else {"stop": stop, "max_tokens": 100})
    wanted = await fleet.stream(chat=chat, **more)
    fleet.upstream.pieces = random.Random(1) if in_pieces else None
    it = await fleet.stream(*cuts, chat=chat, **more)
    fleet.upstream.pieces = None
    is_exact = engine == "vllm"
    if is_exact or wanted.finishes == ["stop"]:
        assert it.text == wanted.text
    else:
        # how many tokens a text has is for its engine to say: the limit may be some off
        common = min(len(it.text), len(wanted.text)) - 1  # the last one may be half a character
        assert it.text[:common] == wanted.text[:common]
        assert abs(len(it.text) - len(wanted.text)) < 40
    assert it.error is None
    assert it.is_done
    assert (len(it.ids), len(it.created), it.roles) == (1, len(wanted.created), int(chat))
    assert it.finishes == wanted.finishes
    assert wanted.usage is not None
    if it.usage is None:
        return  # cut between the last token and its usage
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert it.usage[name] == pytest.approx(wanted.usage[name], abs=0 if is_exact else 8)


FLEETS: dict[str, Fleet] = {}


def resumes(fleet: Fleet) -> dict[str, float]:
    """How broken streams went on, or did not."""
    return counted(fleet.metrics, "gateway_resumes", "outcome")


async def test_chat_goes_on_from_token_ids() -> None:
    fleet = Fleet()
    await fleet.stream(2000)
    first, second = fleet.upstream.sent
    assert first["return_token_ids"] is True
    assert second["kv_transfer_params"]["prompt_token_ids"]
    assert (fleet.line["resumes"], fleet.line["attempts"]) == (1, 2)
    assert resumes(fleet) == {"chat_ids": 1}


async def test_the_last_failure_is_one_error_event() -> None:
    fleet = Fleet()
    it = await fleet.stream(1500, 1500, 1500)
    assert it.error is not None
    assert it.error["code"] == "stream_broken"
    assert not it.is_done
    assert it.roles == 1
    assert fleet.line["resumes"] == 2
    assert fleet.line["resume_refused"] == "spent"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"n": 2, "temperature": 1}, "choices"),
        ({"response_format": {"type": "json_object"}}, "structured_output"),
    ],
)
async def test_what_cannot_be_resumed_says_why(fields: dict[str, Any], why: str) -> None:
    fleet = Fleet()
    it = await fleet.stream(2500, **fields)
    assert it.error is not None
    assert "return_token_ids" not in fleet.upstream.sent[0]
    assert fleet.line["resume_refused"] == why
    assert resumes(fleet) == {why: 1}


async def test_a_lone_replica_is_asked_for_nothing_more() -> None:
    fleet = Fleet(replicas=1)
    it = await fleet.stream(2000)
    assert it.error is not None
    assert "return_token_ids" not in fleet.upstream.sent[0]
    assert fleet.line["resume_refused"] == "no_replica"


async def test_when_all_replicas_were_tried_it_ends() -> None:
    fleet = Fleet(replicas=2)
    it = await fleet.stream(2000, 2000)
    assert it.error is not None
    assert fleet.line["resume_refused"] == "no_replica"


async def test_a_model_may_be_without_it() -> None:
    fleet = Fleet(resume=False)
    it = await fleet.stream(2000)
    assert it.error is not None
    assert "return_token_ids" not in fleet.upstream.sent[0]
    assert fleet.line["resume_refused"] == "off"


async def test_the_upstream_openai_itself_goes_on_with_nothing() -> None:
    fleet = Fleet("openai")
    it = await fleet.stream(2000)
    assert it.error is not None
    assert fleet.line["resume_refused"] == "engine"


async def test_an_engine_that_does_not_know_ids_in_chat_is_asked_for_a_completion() -> None:
    fleet = Fleet()
    wanted = await fleet.stream()
    fleet.upstream.ignores = "kv_transfer_params"
    it = await fleet.stream(2000)
    assert it.text == wanted.text
    assert (it.roles, it.finishes, it.is_done) == (1, ["length"], True)
    assert "prompt" in fleet.upstream.sent[-1]
    assert resumes(fleet) == {"completion_ids": 1}


async def test_an_engine_that_refuses_a_way_is_asked_by_another() -> None:
    fleet = Fleet(replicas=2)
    wanted = await fleet.stream()
    fleet.upstream.refuses = ("kv_transfer_params",)
    it = await fleet.stream(2000)
    assert it.text == wanted.text
    assert resumes(fleet) == {"completion_ids": 1}
    fleet.upstream.refuses = ("kv_transfer_params", "prompt")
    assert (await fleet.stream(2000)).error is not None
    assert fleet.line["resume_refused"] == "spent"


async def test_sampled_text_behind_a_stop_string_goes_on_as_text() -> None:
    fleet = Fleet()
    wanted = await fleet.stream(stop="xyz", temperature=1)
    it = await fleet.stream(3000, stop="xyz", temperature=1)
    assert fleet.upstream.sent[-1]["continue_final_message"] is True
    common = min(len(it.text), len(wanted.text)) - 1
    assert it.text[:common] == wanted.text[:common]
    assert resumes(fleet) == {"text": 1}


async def test_an_answer_that_lacks_only_its_end_is_closed_without_an_engine() -> None:
    fleet = Fleet("llamacpp", unicode=False)
    wanted = await fleet.stream(max_tokens=5)
    whole = fleet.upstream.whole()
    cut = whole.index(b'"length"') - 40
    it = await fleet.stream(cut, max_tokens=5)
    assert (it.text, it.finishes, it.is_done) == (wanted.text, ["length"], True)
    assert len(fleet.upstream.sent) == 1
    assert fleet.line["finish_reason"] == "length"
    assert resumes(fleet) == {"closed": 1}


async def test_a_client_that_wants_token_ids_gets_each_once() -> None:
    fleet = Fleet()
    wanted = ids_in(await fleet.raw(return_token_ids=True))
    resumed = 0
    for cut in range(1000, 5000, 100):
        body = await fleet.raw(cut, return_token_ids=True)
        if b'"error"' in body:
            # ids of half a character were out
            assert fleet.line["resume_refused"] == "parameter"
            assert wanted[: len(ids_in(body))] == ids_in(body)
        else:
            resumed += fleet.line["resumes"]
            assert ids_in(body) == wanted
    assert resumed > 10


def ids_in(body: bytes) -> list[int]:
    chunks = [json.loads(event[6:]) for event in body.split(b"\n\n") if event[:7] == b"data: {"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return [token for choice in choices for token in choice.get("token_ids") or ()]


async def test_what_the_client_sees_is_byte_for_byte_what_it_saw_without() -> None:
    kept, plain = Fleet(), Fleet(resume=False)
    assert await kept.raw() == await plain.raw()


async def test_a_client_that_leaves_meanwhile_is_left_alone() -> None:
    fleet = Fleet()
    fleet.leaves = 2
    await fleet.stream(2000, 1200)
    assert len(fleet.upstream.sent) == 2
    assert fleet.line["outcome"] == "client_gone" or fleet.line["resumes"] == 1


async def test_a_deadline_ends_it() -> None:
    fleet = Fleet(timeouts={"total_s": 0.05})
    fleet.upstream.hangs = 2
    it = await fleet.stream(2000)
    assert it.error is not None
    assert it.error["code"] == "deadline_exceeded"


async def test_a_client_that_is_gone_is_not_gone_on_for() -> None:
    fleet = Fleet()
    fleet.leaves = 1
    await fleet.stream(2000)
    assert len(fleet.upstream.sent) == 1
