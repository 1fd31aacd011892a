from typing import Any

import pytest

from gateway.api.models import listed, models_router
from gateway.fleet.state import FleetState
from tests.support.asked_app import ask
from tests.support.configs import a_catalog, a_model, a_variant

KEYS: dict[str, Any] = {
    "plans": [{"name": "small", "models": ["m*"]}],
    "keys": [{"name": "team", "plan": "small", "secret": {"value": "sk-team"}}],
}
MODELS = (a_model("m", variants=[a_variant("fp8"), a_variant("awq")]), a_model("other"))


def a_fleet(**more: Any) -> FleetState:
    return FleetState(a_catalog(*MODELS, **more))


def test_variants_follow_their_model() -> None:
    assert list(listed(a_catalog(*MODELS))) == ["m", "m:fp8", "m:awq", "other"]


async def test_the_list_is_openais() -> None:
    answer = await ask(models_router(a_fleet(), 7), path="/v1/models")
    told = answer.json()
    assert told["object"] == "list"
    assert told["data"][1] == {
        "id": "m:fp8",
        "object": "model",
        "created": 7,
        "owned_by": "sluicegate",
    }


async def test_a_caller_sees_what_its_plan_allows() -> None:
    router = models_router(a_fleet(**KEYS), 7)
    answer = await ask(router, path="/v1/models", key="sk-team")
    assert [model["id"] for model in answer.json()["data"]] == ["m", "m:fp8", "m:awq"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m"])
async def test_without_a_key_nothing_is_shown(path: str) -> None:
    answer = await ask(models_router(a_fleet(**KEYS), 7), path=path)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("name", "status"), [("m", 200), ("m:awq", 200), ("other", 404), ("x", 404)]
)
async def test_one_model_is_shown_to_whom_it_may_be(name: str, status: int) -> None:
    answer = await ask(models_router(a_fleet(**KEYS), 7), path=f"/v1/models/{name}", key="sk-team")
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["id"] == name
    else:
        assert answer.json()["error"]["code"] == "model_not_found"
