"""Engines are what httpx would meet: each test says what theirs answers."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx
from typing_extensions import override

from gateway.engines import ENGINES
from gateway.engines.adapter import EngineAdapter, Load, State
from gateway.engines.vllm import VllmAdapter
from gateway.fleet.discovery.endpoint import Endpoint, Standing
from gateway.fleet.health import Condition, Reason
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.prober import Prober
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.discoveries import a_discovered
from tests.support.fake_clock import FakeClock

URL = "http://a.test:8000"
OTHER = "http://b.test:8000"
LONG_S = 20.0

VLLM = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n"
TGI = b"tgi_batch_current_size 3\ntgi_queue_size 2\n"
LLAMACPP = b"llamacpp:requests_processing 3\nllamacpp:requests_deferred 2\n"
SLEEPING = b'vllm:engine_sleep_state{sleep_state="weights_offloaded"} 1\n'


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router


@dataclass
class Probed:
    """A fleet and its prober."""

    fleet: FleetState
    prober: Prober

    @property
    def states(self) -> list[ReplicaState]:
        return list(self.fleet)

    async def round(self) -> list[Condition]:
        """One round; what is thought of the replicas after it."""
        with anyio.fail_after(LONG_S):
            await self.prober.probe_all()
        return [state.condition for state in self.states]

    async def twice(self) -> list[Condition]:
        """So that failures count."""
        await self.round()
        return await self.round()


Probe = Callable[..., Probed]


@pytest.fixture
async def probe(router: respx.MockRouter) -> AsyncIterator[Probe]:
    """Makes a prober of one model's replicas at these addresses (one)."""
    async with ProbeClients() as clients:

        def probe(
            *urls: str,
            timeout_s: float = LONG_S,
            engines: Mapping[str, EngineAdapter] = ENGINES,
            **more: object,
        ) -> Probed:
            router.get(path="/v1/models").respond(json={"data": [{"id": "m"}]})
            fleet = FleetState(
                a_catalog(a_model("m", variants=[a_variant("fp8", *(urls or (URL,)), **more)]))
            )
            prober = Prober(fleet, engines, clients, FakeClock(), interval_s=0, timeout_s=timeout_s)
            return Probed(fleet, prober)

        yield probe


def answers(router: respx.MockRouter, path: str, status: int, body: bytes = b"") -> respx.Route:
    return router.get(URL + path).respond(status, content=body)


def fails(router: respx.MockRouter, path: str, error: Exception) -> respx.Route:
    return router.get(URL + path).mock(side_effect=error)


async def hangs(request: httpx.Request) -> httpx.Response:
    await anyio.sleep_forever()
    raise AssertionError("forever has ended")


@pytest.mark.parametrize(
    ("engine", "figures"), [("vllm", VLLM), ("tgi", TGI), ("llamacpp", LLAMACPP)]
)
async def test_an_engine_that_is_well_is_ready_and_says_how_busy_it_is(
    router: respx.MockRouter, probe: Probe, engine: str, figures: bytes
) -> None:
    answers(router, "/health", 200)
    answers(router, "/metrics", 200, figures)
    probed = probe(engine=engine)
    assert await probed.round() == [Condition.READY]
    assert probed.states[0].others == 5


async def test_an_engine_of_openais_kind_is_asked_for_its_models_and_for_nothing_else(
    router: respx.MockRouter, probe: Probe
) -> None:
    models = answers(router, "/v1/models", 200, b'{"object":"list","data":[]}')
    assert await probe(engine="openai").round() == [Condition.READY]
    assert models.call_count == len(router.calls) == 1


@pytest.mark.parametrize(
    ("engine", "path", "condition"),
    [
        ("vllm", "/health", Condition.UNHEALTHY),
        ("tgi", "/health", Condition.UNHEALTHY),
        ("llamacpp", "/health", Condition.LOADING),
        ("openai", "/v1/models", Condition.UNHEALTHY),
    ],
)
async def test_what_503_means_depends_on_the_engine(
    router: respx.MockRouter, probe: Probe, engine: str, path: str, condition: Condition
) -> None:
    answers(router, path, 503, b'{"error":{"message":"Loading model"}}')
    assert await probe(engine=engine).twice() == [condition]


@pytest.mark.parametrize("engine", ["vllm", "tgi", "llamacpp"])
@pytest.mark.parametrize("status", [302, 401, 404, 500])
async def test_an_engine_that_is_not_ready_is_not_asked_for_figures(
    router: respx.MockRouter, probe: Probe, engine: str, status: int
) -> None:
    answers(router, "/health", status)
    figures = answers(router, "/metrics", 200)
    assert await probe(engine=engine).twice() == [Condition.UNHEALTHY]
    assert not figures.called


async def test_an_engine_that_sleeps_says_so_in_its_figures(
    router: respx.MockRouter, probe: Probe
) -> None:
    answers(router, "/health", 200)
    answers(router, "/metrics", 200, SLEEPING)
    assert await probe().round() == [Condition.ASLEEP]


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("no answer"),
        httpx.ReadTimeout("no answer"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("that is no HTTP"),
        httpx.PoolTimeout("all taken"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_engine_that_cannot_be_asked_is_unhealthy_when_it_happens_again(
    router: respx.MockRouter, probe: Probe, error: Exception
) -> None:
    fails(router, "/health", error)
    probed = probe()
    assert await probed.round() == [Condition.UNKNOWN]
    assert await probed.round() == [Condition.UNHEALTHY]


async def test_an_engine_that_does_not_answer_in_time_is_unhealthy(
    router: respx.MockRouter, probe: Probe
) -> None:
    router.get(URL + "/health").mock(side_effect=hangs)
    assert await probe(timeout_s=0.01).twice() == [Condition.UNHEALTHY]


async def test_a_body_that_drips_does_not_outlast_the_time(
    router: respx.MockRouter, probe: Probe
) -> None:
    class Dripping(httpx.AsyncByteStream):
        @override
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await anyio.lowlevel.checkpoint()

    router.get(URL + "/health").mock(side_effect=lambda _: httpx.Response(200, stream=Dripping()))
    assert await probe(timeout_s=0.01).twice() == [Condition.UNHEALTHY]


async def test_the_one_that_is_back_counts_at_once(router: respx.MockRouter, probe: Probe) -> None:
    health = fails(router, "/health", httpx.ConnectError("refused"))
    answers(router, "/metrics", 200)
    probed = probe()
    assert await probed.twice() == [Condition.UNHEALTHY]
    health.mock(return_value=httpx.Response(200))
    assert await probed.round() == [Condition.READY]


async def test_no_more_of_a_body_is_read_than_its_bound(
    router: respx.MockRouter, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fleet.prober._MAX_BODY_BYTES", 100)
    read: list[bytes] = []

    class Endless(httpx.AsyncByteStream):
        @override
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                read.append(VLLM)
                yield VLLM

    answers(router, "/health", 200)
    router.get(URL + "/metrics").mock(side_effect=lambda _: httpx.Response(200, stream=Endless()))
    assert await probe().round() == [Condition.READY]
    assert sum(map(len, read)) <= 100 + len(VLLM)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe\x00", b"vllm:num_requests_running many\n"]
)
async def test_figures_that_cannot_be_read_are_unknown_and_the_engine_is_ready(
    router: respx.MockRouter, probe: Probe, body: bytes
) -> None:
    answers(router, "/health", 200)
    answers(router, "/metrics", 200, body)
    probed = probe()
    assert await probed.twice() == [Condition.READY]
    [state] = probed.states
    assert (state.others, state.kv_cache_used_ratio) == (0, None)


@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout("no answer"), httpx.ReadError("reset"), ValueError("odd")]
)
async def test_figures_that_do_not_come_are_unknown_and_the_engine_is_ready(
    router: respx.MockRouter, probe: Probe, error: Exception
) -> None:
    answers(router, "/health", 200)
    figures = answers(router, "/metrics", 200, VLLM)
    probed = probe()
    await probed.round()
    assert probed.states[0].kv_cache_used_ratio == 0.5
    figures.mock(side_effect=error)
    assert await probed.twice() == [Condition.READY]
    assert probed.states[0].kv_cache_used_ratio is None


async def test_the_engines_key_goes_along_with_every_question(
    router: respx.MockRouter, probe: Probe
) -> None:
    answers(router, "/health", 200)
    answers(router, "/metrics", 200)
    await probe(api_key={"value": "sk-engine"}).round()
    assert [call.request.headers.get("authorization") for call in router.calls] == [
        "Bearer sk-engine",
        "Bearer sk-engine",
        "Bearer sk-engine",
    ]


async def test_without_a_key_none_is_sent(router: respx.MockRouter, probe: Probe) -> None:
    answers(router, "/health", 503)
    await probe().round()
    assert "authorization" not in router.calls.last.request.headers


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b'{"data":[{"id":"other"}]}', Reason.MODEL_MISSING),
        (401, b'{"error":"Unauthorized"}', Reason.CREDENTIALS_REFUSED),
    ],
)
async def test_a_vllm_that_serves_another_model_or_refuses_our_key_is_misconfigured(
    router: respx.MockRouter, probe: Probe, status: int, body: bytes, reason: Reason
) -> None:
    answers(router, "/health", 200)
    answers(router, "/v1/models", status, body)
    figures = answers(router, "/metrics", 200)
    probed = probe()
    assert await probed.round() == [Condition.MISCONFIGURED]
    assert probed.states[0].reason is reason
    assert not figures.called


async def test_a_list_of_models_that_does_not_come_leaves_the_engine_ready(
    router: respx.MockRouter, probe: Probe
) -> None:
    answers(router, "/health", 200)
    fails(router, "/v1/models", httpx.ReadTimeout("no answer"))
    assert await probe().round() == [Condition.READY]


@pytest.mark.parametrize("engine", ["tgi", "llamacpp"])
async def test_an_engine_that_answers_to_any_name_is_not_asked_for_its_models(
    router: respx.MockRouter, probe: Probe, engine: str
) -> None:
    answers(router, "/health", 200)
    answers(router, "/metrics", 200)
    models = answers(router, "/v1/models", 200, b'{"data":[{"id":"/models/q4.gguf"}]}')
    assert await probe(engine=engine).round() == [Condition.READY]
    assert not models.called


async def test_an_engine_that_hangs_holds_up_no_other(
    router: respx.MockRouter, probe: Probe
) -> None:
    router.get(URL + "/health").mock(side_effect=hangs)
    router.get(OTHER + "/health").respond(200)
    router.get(OTHER + "/metrics").respond(200)
    probed = probe(URL, OTHER)
    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as group:
            group.start_soon(probed.prober.probe_all)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    assert [s.condition for s in probed.states] == [Condition.UNKNOWN, Condition.READY]


async def test_an_engine_that_fails_takes_no_other_along(
    router: respx.MockRouter, probe: Probe
) -> None:
    fails(router, "/health", httpx.ConnectError("refused"))
    router.get(OTHER + "/health").respond(200)
    router.get(OTHER + "/metrics").respond(200)
    assert await probe(URL, OTHER).twice() == [Condition.UNHEALTHY, Condition.READY]


async def test_only_so_many_are_asked_at_a_time_and_all_get_their_turn(
    router: respx.MockRouter, probe: Probe
) -> None:
    asked, answer = 0, anyio.Event()

    async def waits(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        await answer.wait()
        return httpx.Response(404)

    router.get(path="/health").mock(side_effect=waits)
    probed = probe(*(f"http://replica-{number}.test" for number in range(40)))
    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as group:
            group.start_soon(probed.prober.probe_all)
            await anyio.wait_all_tasks_blocked()
            assert asked == 32
            answer.set()
    assert asked == 40
    assert all(state.health.failures == 1 for state in probed.states)


async def test_rounds_go_on_until_they_are_cancelled_and_take_in_new_replicas(
    router: respx.MockRouter, probe: Probe
) -> None:
    asked = {"a.test": anyio.Event(), "b.test": anyio.Event()}

    def sees(request: httpx.Request) -> httpx.Response:
        asked[request.url.host].set()
        return httpx.Response(404)

    router.get(path="/health").mock(side_effect=sees)
    probed = probe(URL)
    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as group:
            group.start_soon(probed.prober.run)
            await asked["a.test"].wait()
            probed.fleet.apply(a_catalog(a_model("m", variants=[a_variant("fp8", URL, OTHER)])))
            await asked["b.test"].wait()
            group.cancel_scope.cancel()


async def test_cancellation_ends_a_probe_that_waits_and_says_nothing_of_its_engine(
    router: respx.MockRouter, probe: Probe
) -> None:
    asked = anyio.Event()

    async def waits(request: httpx.Request) -> httpx.Response:
        asked.set()
        return await hangs(request)

    router.get(URL + "/health").mock(side_effect=waits)
    probed = probe()
    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as group:
            group.start_soon(probed.prober.run)
            await asked.wait()
            group.cancel_scope.cancel()
    assert probed.states[0].health.failures == 0


async def test_figures_of_a_replica_that_left_meanwhile_are_no_harm(
    router: respx.MockRouter, probe: Probe
) -> None:
    probed = probe()
    [left] = probed.states

    async def leaves(request: httpx.Request) -> httpx.Response:
        probed.fleet.apply(a_catalog(a_model("other")))
        return httpx.Response(200)

    router.get(URL + "/health").mock(side_effect=leaves)
    answers(router, "/metrics", 200, VLLM)
    assert await probed.round() == [Condition.UNKNOWN]
    assert left not in probed.states


async def test_load_is_unknown_as_soon_as_one_probe_fails(
    router: respx.MockRouter, probe: Probe
) -> None:
    health = answers(router, "/health", 200)
    answers(router, "/metrics", 200, VLLM)
    probed = probe()
    await probed.round()
    health.mock(side_effect=httpx.ConnectError("refused"))
    assert await probed.round() == [Condition.READY]
    [state] = probed.states
    assert (state.others, state.kv_cache_used_ratio) == (0, None)


@pytest.mark.parametrize("said", State)
async def test_what_an_engine_says_of_itself_is_what_is_thought_of_it(
    router: respx.MockRouter, probe: Probe, said: State
) -> None:
    class Outspoken(VllmAdapter):
        @override
        def state(self, status: int, body: bytes) -> State:
            return said

    answers(router, "/health", 200)
    answers(router, "/metrics", 200)
    probed = probe(engines={"vllm": Outspoken()})
    misconfigured = said in (State.MODEL_MISSING, State.CREDENTIALS_REFUSED)
    condition = Condition.MISCONFIGURED if misconfigured else Condition(said.value)
    assert await probed.twice() == [condition]
    assert probed.states[0].reason is not None


@pytest.mark.parametrize("capacity", ["+Inf", "NaN", "1e999"])
async def test_figures_that_are_no_numbers_are_unknown(
    router: respx.MockRouter, probe: Probe, capacity: str
) -> None:
    answers(router, "/health", 200)
    answers(router, "/metrics", 200, TGI + f"tgi_batch_max_total_tokens {capacity}\n".encode())
    probed = probe(engine="tgi")
    assert await probed.round() == [Condition.READY]
    assert probed.states[0].kv_cache_tokens is None


async def test_a_fault_of_an_adapter_is_logged_and_takes_no_other_along(
    router: respx.MockRouter, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(VllmAdapter):
        @override
        def state(self, status: int, body: bytes) -> State:
            return State(body.decode())

        @override
        def load(self, body: bytes) -> Load:
            raise KeyError(body)

    router.get(URL + "/health").respond(content=b"no state")
    router.get(OTHER + "/health").respond(content=b"ready")
    router.get(OTHER + "/metrics").respond(200)
    probed = probe(URL, OTHER, engines={"vllm": Faulty()})
    assert await probed.round() == [Condition.UNKNOWN, Condition.READY]
    [line] = [line for line in caplog.records if line.levelno >= logging.ERROR]
    assert (line.getMessage(), vars(line)[F.REPLICA]) == (F.BUG, "r1")


async def test_a_request_of_ours_that_came_and_went_while_figures_were_read_is_not_of_others(
    router: respx.MockRouter, probe: Probe
) -> None:
    """It was counted as somebody else's until the next round, and sent calls elsewhere."""
    probed = probe()
    [state] = probed.states

    async def busy(_: httpx.Request) -> httpx.Response:
        Lease(state).release()
        return httpx.Response(200, content=b"vllm:num_requests_running 3\n")

    answers(router, "/health", 200)
    router.get(URL + "/metrics").mock(side_effect=busy)
    await probed.round()
    assert state.others == 2


async def test_at_the_start_who_fails_is_asked_once_more_and_nobody_else(
    router: respx.MockRouter, probe: Probe
) -> None:
    health = answers(router, "/health", 200)
    answers(router, "/metrics", 200)
    probed = probe()
    await probed.prober.start()
    assert health.call_count == 1
    fails(router, "/health", httpx.ConnectError("refused"))
    await probed.prober.start()
    assert [state.condition for state in probed.states] == [Condition.UNHEALTHY]


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (200, b'{"data":[{"id":"m"},{"id":"sql","parent":"m"}]}', {"sql"}),
        (200, b"?", None),
        (500, b"", None),
    ],
)
async def test_adapters_are_those_that_the_engine_lists(
    router: respx.MockRouter, status: int, body: bytes, known: set[str] | None
) -> None:
    router.get(f"{URL}/health").respond(200)
    router.get(f"{URL}/v1/models").respond(status, content=body)
    router.get(f"{URL}/metrics").respond(200, content=VLLM)
    fleet = FleetState(a_catalog(a_model("m", url=URL, adapters=[{"name": "sql"}])))
    async with ProbeClients() as clients:
        await Prober(fleet, ENGINES, clients, FakeClock()).probe_all()
    (state,) = fleet
    assert state.adapters.known == known


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x")])
async def test_nobody_there_counts_at_once_and_as_no_failure_where_engines_may_be_away(
    router: respx.MockRouter, probe: Probe, error: Exception
) -> None:
    fails(router, "/health", error)
    assert await probe(wake={}).round() == [Condition.AWAY]
    assert await probe().twice() == [Condition.UNHEALTHY]


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ConnectTimeout("x")])
async def test_who_takes_no_connections_is_unreachable_as_long_as_it_is_out(
    router: respx.MockRouter, probe: Probe, error: Exception
) -> None:
    fails(router, "/health", error)
    probed = probe()
    (state,) = probed.states
    seen: list[bool] = []
    for _ in range(2):
        await probed.round()
        seen.append(state.is_unreachable)
    fails(router, "/health", httpx.ReadTimeout("it does, and is slow"))
    await probed.round()
    seen.append(state.is_unreachable)
    assert seen == [False, True, False]  # after the first it is still used


async def test_an_engine_that_is_there_and_says_nothing_is_not_away(
    router: respx.MockRouter, probe: Probe
) -> None:
    fails(router, "/health", httpx.ReadTimeout("x"))
    assert await probe(wake={}).twice() == [Condition.UNHEALTHY]


async def test_what_ends_is_not_probed_and_what_is_new_may_be_at_once(
    router: respx.MockRouter,
) -> None:
    fleet = FleetState(a_catalog(a_discovered()))
    variant = fleet.catalog.models["m"].variants[0]
    found = [
        variant.replica_at(Endpoint(standing.value, f"{standing.value}.test", 80, standing))
        for standing in Standing
    ]
    fleet.found(variant, found)
    asked = router.get(url__regex=".*").mock(side_effect=httpx.ConnectError("away"))
    async with ProbeClients() as clients:
        prober = Prober(fleet, ENGINES, clients, FakeClock())
        await prober.probe_all()
        assert {call.request.url.host for call in asked.calls} == {
            "serving.test",
            "not_ready.test",
        }
        before = len(asked.calls)
        await prober.probe_each(fleet.replicas_of("m"))
        assert [call.request.url.host for call in asked.calls][before:] == ["serving.test"]
