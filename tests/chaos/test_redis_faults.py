"""Every fault of Redis, under a call that runs and one that comes: answered, and paid once."""

import json
import logging

import anyio
import httpx
import pytest

from gateway.limits.redis_store import RedisStore
from gateway.limits.store import StoreState
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.chaos.purse import LOGIN
from tests.chaos.redis_faults import REDIS_FAULTS, RedisFault, Way
from tests.chaos.stage import MAX_TOKENS, PATH, PROMPT, Seen, Stage, a_stage, body, read
from tests.support.limit_load import Opened
from tests.support.lossy_proxy import a_lossy_proxy
from tests.support.redis_servers import a_redis

ENGINE = EngineOptions(
    models=("sim",), inter_token_s=0.02, inter_token_s_per_running=0.0, prefill_s_per_token=0.0
)
PRICE = len(PROMPT) + MAX_TOKENS
PATIENCE_S = 3.0

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("policy", ["local", "deny"])
@pytest.mark.parametrize("fault", REDIS_FAULTS, ids=lambda fault: f"{fault.number} {fault.name}")
async def test_redis(fault: RedisFault, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with a_redis() as server, server.client() as client:
        client.ping()
        async with (
            a_lossy_proxy(server.port) as proxy,
            serve_engine(ENGINE) as engine,
            a_stage(
                server,
                [{"url": engine.url}],
                [engine],
                redis_url=f"redis://127.0.0.1:{proxy.port}",
                limits={"on_store_failure": policy, "store_timeout_s": 0.3},
            ) as stage,
        ):
            way = Way(server, proxy, client)
            opened = the_store(stage)
            assert_whole(await stage.call(stream=False), stage)
            assert_whole(await across(stage, fault, way), stage)
            if fault.stops:
                await until_it_is_missed(stage, opened, policy)
            with anyio.fail_after(PATIENCE_S):
                during = await stage.call(stream=True)
            may_refuse = policy == "deny" and (fault.stops or during.status != 200)
            if may_refuse and (fault.stops or fault.blinks):
                assert (during.status, during.code) == (503, "limits_unavailable")
                assert stage.lines[-1]["outcome"] == "gateway_error"
            else:
                assert_whole(during, stage)
            fault.heals(way)
            await opened.is_in(StoreState.OK)
            assert_whole(await stage.call(stream=False), stage)
            await opened.is_done()
    assert_told(caplog, opened, fault)


def the_store(stage: Stage) -> Opened:
    store = stage.it.gateway.limiter.store
    assert isinstance(store, RedisStore)
    return Opened(store, store._metrics)


async def across(stage: Stage, fault: RedisFault, way: Way) -> Seen:
    """A stream that was let in before the fault, and ends in it."""
    async with (
        httpx.AsyncClient(timeout=20) as http,
        http.stream("POST", stage.it.url + PATH, json=body(stream=True), headers=LOGIN) as answer,
    ):
        pieces = answer.aiter_bytes()
        first = await anext(pieces)
        fault.hurts(way)
        rest = b"".join([piece async for piece in pieces])
    return read(answer.status_code, first + rest)


async def until_it_is_missed(stage: Stage, opened: Opened, policy: str) -> None:
    """Calls come until the gateway knows; none of them is left without a true answer."""
    with anyio.fail_after(10):
        while opened.store.state is StoreState.OK:
            seen = await stage.call(stream=False)
            if seen.status == 200:
                assert_whole(seen, stage)
            else:
                assert (policy, seen.code) == ("deny", "limits_unavailable")
    assert opened.store.state is StoreState(policy)
    assert stage.gauge("gateway_limit_store_away") == 1


def assert_whole(seen: Seen, stage: Stage) -> None:
    assert (seen.status, seen.is_whole) == (200, True), seen
    stage.pays(PRICE)


def assert_told(caplog: pytest.LogCaptureFixture, opened: Opened, fault: RedisFault) -> None:
    states = [
        str(vars(record)["state"])
        for record in caplog.records
        if record.getMessage() == "limit_store_state"
    ]
    if fault.stops:
        assert opened.failures()
        assert len(states) >= 2, json.dumps(states)
        assert states[-1] == "ok"
