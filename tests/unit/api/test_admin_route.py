import random
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from gateway.api.admin_route import route_router
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.proxy.choosing import Choosing
from gateway.routing import POLICIES
from gateway.routing.prefix_affinity import COMPUTE
from gateway.wire.ask import Operation, read_ask
from gateway.wire.prefix import prefix_of
from tests.support.asked_app import ask
from tests.support.configs import a_catalog, a_variant
from tests.support.fake_clock import FakeClock
from tests.support.queues import a_queues

LONG = "word " * 500


def a_fleet() -> FleetState:
    replicas = [{"url": "http://a"}, {"url": "http://b"}]
    given = {"name": "m", "engine": "vllm", "policy": "prefix-affinity", "replicas": replicas}
    return FleetState(a_catalog(given))


async def asked(fleet: FleetState, **more: Any) -> httpx.Response:
    policies = {name: new() for name, new in POLICIES.items()}
    clock, rng = FakeClock(), random.Random(0)
    queues = a_queues(fleet, clock)
    choosing = Choosing(fleet=fleet, queues=queues, clock=clock, rng=rng)
    router = route_router(fleet, policies, choosing, SecretStr("admin"))
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


def a_choice(**model: Any) -> FleetState:
    variants = [a_variant("bf16", concurrency=1), a_variant("int4")]
    given = {"name": "m", "variants": variants, "choose": "spill"} | model
    plans = [{"name": "patient", "choose": "first"}, {"name": "small", "models": ["m:int4"]}]
    split = {"name": "s", "parts": [{"to": "m:bf16", "weight": 1}, {"to": "m:int4", "weight": 1}]}
    return FleetState(a_catalog(given, plans=plans, splits=[split]))


async def test_it_says_how_each_variant_is_and_why_one_is_chosen() -> None:
    fleet = a_choice()
    told = (await asked(fleet, params={"model": "m"})).json()
    assert (told["reason"], told["choices"][0]["variant"]) == ("first", "m:bf16")
    Lease(next(iter(fleet)))
    told = (await asked(fleet, params={"model": "m"})).json()
    assert (told["reason"], told["choices"][0]["variant"]) == ("spilled", "m:int4")
    assert told["variants"] == [
        {"variant": "m:bf16", "usable": True, "in_line": 1, "ttft_s": None, "excess": 1},
        {"variant": "m:int4", "usable": True, "in_line": 0, "ttft_s": None, "excess": 0},
    ]
    next(iter(fleet)).is_usable = False
    told = (await asked(fleet, params={"model": "m"})).json()
    assert told["variants"][0] == {"variant": "m:bf16", "usable": False}
    assert told["reason"] == "next"


async def test_it_can_be_asked_for_a_plan_a_caller_and_bits() -> None:
    fleet = a_choice()
    Lease(next(iter(fleet)))
    told = (await asked(fleet, params={"model": "m", "plan": "patient"})).json()
    assert (told["choices"][0]["variant"], told["variants"]) == ("m:bf16", [])
    told = (await asked(fleet, params={"model": "m", "plan": "small"})).json()
    assert {one["variant"] for one in told["choices"]} == {"m:int4"}
    told = (await asked(fleet, params={"model": "m", "min_bits": 8})).json()
    assert {one["variant"] for one in told["choices"]} == {"m:bf16"}
    firsts = {
        (await asked(fleet, params={"model": "s", "caller": f"t{n}"})).json()["choices"][0][
            "variant"
        ]
        for n in range(20)
    }
    assert firsts == {"m:bf16", "m:int4"}


async def test_a_plan_that_is_not_there_is_told() -> None:
    answer = await asked(a_choice(), params={"model": "m", "plan": "none"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "plan"
