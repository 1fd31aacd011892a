import httpx
import pytest
from fastapi import FastAPI

from gateway.api.models import listed, models_router
from gateway.api.problems import install_problems
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog, a_model, a_variant

CATALOG = a_catalog(
    a_model("llama", variants=[a_variant("fp8"), a_variant("awq")], aliases=["gpt-4o"]),
    a_model("org/small"),
    plans=[{"name": "some", "models": ["llama:fp8", "org/*"]}],
    keys=[
        {"name": "all", "secret": {"value": "sk-all"}},
        {"name": "some", "plan": "some", "secret": {"value": "sk-some"}},
    ],
)


async def asked(path: str, key: str | None = "sk-all") -> httpx.Response:
    app = FastAPI()
    app.include_router(models_router(FleetState(CATALOG), 123))
    install_problems(app)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.get(path, headers=headers)


def test_every_model_is_followed_by_its_variants_and_a_model_of_one_stands_alone() -> None:
    assert list(listed(CATALOG)) == ["llama", "llama:fp8", "llama:awq", "org/small"]


async def test_the_list_is_openais() -> None:
    answer = await asked("/v1/models")
    assert answer.json()["object"] == "list"
    assert answer.json()["data"][0] == {
        "id": "llama",
        "object": "model",
        "created": 123,
        "owned_by": "sluicegate",
    }


async def test_a_caller_sees_what_its_plan_allows() -> None:
    answer = await asked("/v1/models", "sk-some")
    assert [one["id"] for one in answer.json()["data"]] == ["llama:fp8", "org/small"]


@pytest.mark.parametrize("name", ["llama", "llama:awq", "org/small", "gpt-4o"])
async def test_one_model_is_shown_by_every_name_it_has(name: str) -> None:
    answer = await asked(f"/v1/models/{name}")
    assert answer.status_code == 200
    assert answer.json()["id"] == name


@pytest.mark.parametrize(("name", "key"), [("none", "sk-all"), ("llama:awq", "sk-some")])
async def test_what_a_caller_may_not_use_does_not_exist_for_it(name: str, key: str) -> None:
    answer = await asked(f"/v1/models/{name}", key)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/llama"])
@pytest.mark.parametrize("key", [None, "sk-wrong"])
async def test_without_a_key_nothing_is_listed(path: str, key: str | None) -> None:
    answer = await asked(path, key)
    assert answer.status_code == 401


async def test_an_adapter_names_what_it_adapts() -> None:
    fleet = FleetState(
        a_catalog(a_model("m", variants=[a_variant("fp8", adapters=[{"name": "sql"}])]))
    )
    app = FastAPI()
    app.include_router(models_router(fleet, 123))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway"
    ) as client:
        told = (await client.get("/v1/models")).json()["data"]
    assert {one["id"]: one.get("parent", "none") for one in told} == {
        "m": "none",
        "m:fp8": "none",
        "sql": "m",
        "sql:fp8": "m:fp8",
    }
