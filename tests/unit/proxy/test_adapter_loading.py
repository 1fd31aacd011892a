"""Loading an adapter before a call, against an engine that answers what the test says."""

from typing import Any

import anyio
import pytest

from gateway.engines import ENGINES
from gateway.errors import AdapterNotLoaded, EngineFault, EngineMisconfigured, EngineUnreachable
from gateway.fleet.loadable import Adapter
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.proxy.adapter_loading import AdapterLoading
from tests.support.configs import a_catalog, a_model
from tests.support.fake_upstream import FakeResponse, FakeUpstream

SQL = Adapter("sql", "/adapters/sql")
FINE = FakeResponse(200, [b"Success"])
THERE = b'{"error":{"message":"The lora adapter has already been loaded.","code":400}}'


class Loads:
    """A replica that has no adapter yet."""

    def __init__(self, *script: FakeResponse | Exception, **variant: Any) -> None:
        self.upstream = FakeUpstream(*script)
        adapters = [{"name": name, "path": f"/adapters/{name}"} for name in ("sql", "b", "c")]
        fleet = FleetState(a_catalog(a_model("m", adapters=adapters, **variant)))
        (self.state,) = fleet
        self.state.adapters.listed([])
        self.loading = AdapterLoading(self.upstream, ENGINES)

    async def use(self, adapter: Adapter = SQL) -> ReplicaState:
        async with self.loading.ready(self.state, adapter, "id"):
            return self.state

    @property
    def asked(self) -> list[str]:
        return [request.path for _, request in self.upstream.sent]


async def test_it_is_loaded_once_and_then_there() -> None:
    loads = Loads(FINE)
    for _ in range(2):
        await loads.use()
    assert loads.asked == ["/v1/load_lora_adapter"]
    (_, request) = loads.upstream.sent[0]
    assert request.body == b'{"lora_name":"sql","lora_path":"/adapters/sql"}'


async def test_who_comes_meanwhile_waits_for_the_same_load() -> None:
    loads = Loads(FINE)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(loads.use)
    assert loads.asked == ["/v1/load_lora_adapter"]
    assert loads.loading._locks == {}


async def test_another_process_may_have_loaded_it() -> None:
    loads = Loads(FakeResponse(400, [THERE]))
    await loads.use()
    assert loads.state.adapters.has("sql")


@pytest.mark.parametrize(
    "answer",
    [FakeResponse(404, [b"{}"]), FakeResponse(500), EngineUnreachable("away"), TimeoutError()],
)
async def test_a_load_that_fails_is_an_honest_failure_and_not_repeated_soon(
    answer: FakeResponse | Exception,
) -> None:
    loads = Loads(answer)
    for _ in range(2):
        with pytest.raises(AdapterNotLoaded):
            await loads.use()
    assert loads.asked == ["/v1/load_lora_adapter"]


async def test_an_engine_that_cannot_load_says_so() -> None:
    loads = Loads()
    loads.loading._engines = {"vllm": ENGINES["openai"]}
    with pytest.raises(AdapterNotLoaded, match="cannot be told"):
        await loads.use()
    assert loads.asked == []


async def test_the_least_recently_used_is_unloaded_first() -> None:
    loads = Loads(FINE, FINE, FINE, max_adapters=1)
    await loads.use()
    await loads.use(Adapter("b", "/adapters/b"))
    assert loads.asked[1:] == ["/v1/unload_lora_adapter", "/v1/load_lora_adapter"]
    assert not loads.state.adapters.has("sql")


@pytest.mark.parametrize("answer", [FakeResponse(500), EngineUnreachable("away"), TimeoutError()])
async def test_one_that_cannot_be_unloaded_stays(answer: FakeResponse | Exception) -> None:
    loads = Loads(FINE, answer, FINE, max_adapters=1)
    await loads.use()
    await loads.use(Adapter("b", "/adapters/b"))
    assert loads.state.adapters.has("sql")
    assert loads.state.adapters.has("b")


async def test_where_none_can_be_unloaded_none_is() -> None:
    class OnlyLoads(type(ENGINES["vllm"])):  # type: ignore[misc]  # its class is the registry's matter
        def unload_adapter(self, *_: Any) -> None:
            return None

    loads = Loads(FINE, FINE, max_adapters=1)
    loads.loading._engines = {"vllm": OnlyLoads()}
    await loads.use()
    await loads.use(Adapter("b", "/adapters/b"))
    assert loads.asked == ["/v1/load_lora_adapter"] * 2


async def test_an_engine_that_does_not_know_the_name_has_lost_it() -> None:
    loads = Loads(FINE)
    with pytest.raises(AdapterNotLoaded):
        async with loads.loading.ready(loads.state, SQL, "id"):
            raise EngineMisconfigured("the engine does not serve this model")
    assert not loads.state.adapters.has("sql")


async def test_other_failures_of_the_try_are_its_own() -> None:
    loads = Loads(FINE)
    with pytest.raises(EngineFault):
        async with loads.loading.ready(loads.state, SQL, "id"):
            raise EngineFault("broken")
    assert loads.state.adapters.has("sql")
