"""Engines are what httpx would meet: each test says what theirs answers."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx
from typing_extensions import override

from gateway.engines import ENGINES
from gateway.engines.adapter import EngineAdapter, Served
from gateway.engines.kept import Kept
from gateway.engines.vllm import VllmAdapter
from gateway.errors import EngineFault
from gateway.fleet.health import Condition
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.fleet.trials import Trials
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.wire.ask import Ask, Operation
from gateway.wire.http import UpstreamRequest
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.fake_clock import FakeClock

URL = "http://a.test:8000"
PATH = "/v1/completions"


class Tried:
    """A fleet of two whose first replica is ejected and due."""

    def __init__(
        self, clients: ProbeClients, engines: Mapping[str, EngineAdapter], **more: object
    ) -> None:
        variant = a_variant("fp8", URL, "http://b.test:8000", **more)
        model = a_model("m", variants=[variant], timeouts={"first_byte_s": 0.05})
        self.clock = FakeClock()
        self.fleet = FleetState(a_catalog(model))
        self.state: ReplicaState = next(iter(self.fleet))
        for _ in range(5):
            self.fleet.observed(Lease(self.state), EngineFault("x"), self.clock.now_s())
        self.clock.pass_s(30)
        assert self.fleet.due(self.clock.now_s()) == [self.state]
        self.trials = Trials(self.fleet, engines, clients, self.clock)

    async def run(self) -> Condition:
        with anyio.fail_after(20):
            await self.trials.run(self.state)
        return self.state.condition


Try = Callable[..., Tried]


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router


@pytest.fixture
async def due(router: respx.MockRouter) -> AsyncIterator[Try]:
    async with ProbeClients() as clients:

        def due(engines: Mapping[str, EngineAdapter] = ENGINES, **more: object) -> Tried:
            return Tried(clients, engines, **more)

        yield due


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_engine_that_answers_one_token_may_have_a_clients_request(
    router: respx.MockRouter, due: Try, engine: str
) -> None:
    answer = router.post(URL + PATH).respond(json={"choices": [{"text": "x"}]})
    tried = due(engine=engine, api_key={"value": "sk-engine"}, served_model="org/m")
    assert await tried.run() is Condition.TRIAL
    request = answer.calls.last.request
    assert request.headers["authorization"] == "Bearer sk-engine"
    body = json.loads(request.content)
    assert (body["model"], body["max_tokens"]) == ("tgi" if engine == "tgi" else "org/m", 1)
    assert not body.get("stream")


@pytest.mark.parametrize("status", [400, 401, 404, 422, 501])
async def test_what_the_engine_refuses_is_for_a_clients_request_to_decide(
    router: respx.MockRouter, due: Try, status: int
) -> None:
    router.post(URL + PATH).respond(status)
    condition = await due(engine="llamacpp").run()
    assert condition is Condition.TRIAL


@pytest.mark.parametrize(
    ("status", "message", "condition"),
    [
        (500, "boom", Condition.EJECTED),
        (503, "busy", Condition.EJECTED),
        (500, "cannot schedule new futures after shutdown", Condition.DRAINING),
    ],
)
async def test_an_engine_that_fails_again_is_out_for_longer(
    router: respx.MockRouter, due: Try, status: int, message: str, condition: Condition
) -> None:
    router.post(URL + PATH).respond(status, json={"error": {"message": message}})
    tried = due()
    assert await tried.run() is condition
    assert tried.fleet.due(tried.clock.now_s()) == []


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), ValueError("odd"), OSError("no")])
async def test_an_engine_that_cannot_be_asked_is_out_for_longer(
    router: respx.MockRouter, due: Try, error: Exception
) -> None:
    router.post(URL + PATH).mock(side_effect=error)
    assert await due().run() is Condition.EJECTED


async def test_an_engine_that_hangs_is_out_for_longer_and_asked_once_at_a_time(
    router: respx.MockRouter, due: Try
) -> None:
    asked = 0

    async def hangs(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        await anyio.sleep_forever()
        raise AssertionError("forever has ended")

    router.post(URL + PATH).mock(side_effect=hangs)
    tried = due()
    async with anyio.create_task_group() as group:
        group.start_soon(tried.run)
        group.start_soon(tried.run)
    assert asked == 1
    assert tried.state.condition is Condition.EJECTED
    assert tried.state.health.ejections == 2


async def test_no_more_of_a_body_is_read_than_its_bound(router: respx.MockRouter, due: Try) -> None:
    class Endless(httpx.AsyncByteStream):
        @override
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" " * 65536
                await anyio.lowlevel.checkpoint()

    router.post(URL + PATH).mock(side_effect=lambda _: httpx.Response(500, stream=Endless()))
    tried = due()
    assert await tried.run() is Condition.EJECTED


async def test_an_engine_without_completions_is_for_a_clients_request_to_decide(
    due: Try,
) -> None:
    class Embedder(VllmAdapter):
        operations = frozenset((Operation.EMBEDDINGS,))

    assert await due({"vllm": Embedder()}).run() is Condition.TRIAL


async def test_a_fault_of_an_adapter_is_logged_and_keeps_no_replica_out(
    due: Try, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(VllmAdapter):
        @override
        def prepare(
            self, ask: Ask, served: Served, request_id: str, kept: Kept | None = None
        ) -> UpstreamRequest:
            raise KeyError(request_id)

    assert await due({"vllm": Faulty()}).run() is Condition.TRIAL
    assert [line.getMessage() for line in caplog.records] == [F.BUG]
