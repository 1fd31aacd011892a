from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from gateway.api.admin_route import route_router
from gateway.fleet.state import FleetState, Lease
from gateway.routing import POLICIES
from gateway.routing.prefix_affinity import COMPUTE
from gateway.wire.ask import Operation, read_ask
from gateway.wire.prefix import prefix_of
from tests.support.asked_app import ask
from tests.support.configs import a_catalog

LONG = "word " * 500


def a_fleet() -> FleetState:
    replicas = [{"url": "http://a"}, {"url": "http://b"}]
    given = {"name": "m", "engine": "vllm", "policy": "prefix-affinity", "replicas": replicas}
    return FleetState(a_catalog(given))


async def asked(fleet: FleetState, **more: Any) -> httpx.Response:
    policies = {name: new() for name, new in POLICIES.items()}
    router = route_router(fleet, policies, SecretStr("admin"))
    return await ask(router, path="/admin/route", key="admin", **more)


async def test_it_says_what_each_replica_would_cost() -> None:
    fleet = a_fleet()
    Lease(next(iter(fleet)))
    told = (await asked(fleet, params={"model": "m"})).json()
    assert [one["replica"] for one in told["choices"]] == ["r1", "r0"]
    assert told["choices"][1]["parts"]["requests"] == 1
    assert told["prompt_blocks"] == 0


async def test_a_prompt_that_was_sent_is_known_where_it_went() -> None:
    fleet = a_fleet()
    body = b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % LONG.encode()
    second = list(fleet)[1]
    Lease(second, prefix_of(read_ask(body, Operation.CHAT))).release()
    given = {"messages": [{"role": "user", "content": LONG}]}
    told = (await asked(fleet, method="POST", params={"model": "m"}, json=given)).json()
    assert told["choices"][0]["replica"] == "r1"
    assert told["choices"][0]["parts"]["uncached"] == 0
    uncached = told["choices"][1]["parts"]["uncached"]
    assert told["prompt_blocks"] > 0
    assert uncached == pytest.approx(COMPUTE * told["prompt_blocks"])


async def test_a_session_leans_to_its_home() -> None:
    told = (await asked(a_fleet(), params={"model": "m", "session": "s1"})).json()
    assert sorted(one["parts"]["home"] for one in told["choices"]) == [-64, 0]


async def test_a_model_that_is_not_there_is_a_404() -> None:
    answer = await asked(a_fleet(), params={"model": "nobody"})
    assert answer.status_code == 404
