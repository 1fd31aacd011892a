import random
from typing import Any

import pytest

from gateway.api.tgi_info import tgi_info_router
from gateway.engines.adapter import Load
from gateway.errors import EngineUnreachable
from gateway.fleet.health import Condition
from gateway.fleet.state import FleetState
from tests.support.asked_app import ask
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.fake_upstream import FakeResponse, FakeUpstream

URLS = ("http://a.test:80", "http://b.test:80")
KEYS: dict[str, Any] = {"keys": [{"name": "team", "secret": {"value": "sk-team"}}]}


def a_fleet(*, usable: bool = True, **more: Any) -> FleetState:
    engines = [a_variant("fp8", *URLS) | {"engine": "tgi"}, a_variant("awq")]
    fleet = FleetState(a_catalog(a_model("m", variants=engines), a_model("v"), **more))
    for state in fleet:
        fleet.probed(state, Condition.READY if usable else Condition.LOADING, Load(), 0.0)
    return fleet


async def info(
    upstream: FakeUpstream,
    model: str = "m",
    *,
    fleet: FleetState | None = None,
    key: str | None = None,
) -> Any:
    router = tgi_info_router(fleet or a_fleet(), upstream, random.Random(0))
    return await ask(router, path=f"/tgi/{model}/info", key=key)


async def test_what_the_engine_says_is_passed_on() -> None:
    upstream = FakeUpstream(told := FakeResponse(200, [b'{"model_id":"x"}']))
    answer = await info(upstream)
    assert (answer.status_code, answer.json()) == (200, {"model_id": "x"})
    ((_, request),) = upstream.sent
    assert (request.method, request.path) == ("GET", "/info")
    assert told.closed == 1


@pytest.mark.parametrize("first", [EngineUnreachable("away"), FakeResponse(500)])
async def test_a_replica_that_does_not_answer_is_passed_over(
    first: EngineUnreachable | FakeResponse,
) -> None:
    upstream = FakeUpstream(first, FakeResponse(200, [b"{}"]))
    assert (await info(upstream)).status_code == 200
    assert len(upstream.sent) == 2


async def test_when_none_answers_the_last_failure_is_told_in_tgis_words() -> None:
    answer = await info(FakeUpstream(FakeResponse(500), EngineUnreachable("away")))
    assert answer.status_code == 502
    assert answer.json() == {"error": "away", "error_type": "generation"}


async def test_without_a_usable_replica_nobody_is_asked() -> None:
    answer = await info(FakeUpstream(), fleet=a_fleet(usable=False))
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(("model", "status"), [("v", 400), ("nobody", 404)])
async def test_a_model_that_is_not_behind_tgi_is_told(model: str, status: int) -> None:
    answer = await info(FakeUpstream(), model)
    assert answer.status_code == status
    assert answer.json()["error_type"] == "validation"


@pytest.mark.parametrize(("key", "status"), [("sk-team", 200), ("sk-other", 401), (None, 401)])
async def test_a_key_is_asked_for_where_there_are_keys(key: str | None, status: int) -> None:
    upstream = FakeUpstream(FakeResponse(200, [b"{}"]))
    answer = await info(upstream, fleet=a_fleet(**KEYS), key=key)
    assert answer.status_code == status
