"""TGI's own API behind the gateway, through TGI's own client."""

import json
from typing import Any

import anyio
import httpx
import pytest
from text_generation import Client
from text_generation.errors import GenerationError, OverloadedError, ValidationError

from gateway.simulator.options import EngineOptions
from tests.support.running import Running, a_gateway

# TGI's client was written for pydantic 1
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")

TGI = EngineOptions(engine="tgi", models=("sim",), inter_token_s=0.002)
KEYS: dict[str, Any] = {"keys": [{"name": "team", "secret": {"value": "sk-team"}}]}


def client(it: Running, key: str = "sk-team") -> Client:
    return Client(f"{it.url}/tgi/m", headers={"Authorization": f"Bearer {key}"})


async def test_tgis_client_generates(direct: bool) -> None:
    async with a_gateway(TGI, direct=direct, **KEYS) as it:
        answer = await anyio.to_thread.run_sync(
            lambda: client(it).generate("Once upon", max_new_tokens=5)
        )
        await it.settled()
    assert answer.generated_text
    assert answer.details is not None
    assert answer.details.generated_tokens == 5
    line = it.log.requests[0]
    assert (line["caller"], line["operation"]) == ("team", "generate_content")
    assert line["completion_tokens"] == 5
    assert line["prompt_tokens"] > 0


async def test_tgis_client_streams(direct: bool) -> None:
    async with a_gateway(TGI, direct=direct, **KEYS) as it:
        parts = await anyio.to_thread.run_sync(
            lambda: list(client(it).generate_stream("Once upon", max_new_tokens=5))
        )
        await it.settled()
    assert "".join(part.token.text for part in parts) == parts[-1].generated_text
    assert it.log.requests[0]["completion_tokens"] == 5
    assert it.log.requests[0]["finish_reason"] == "length"


async def test_tgis_client_raises_what_it_always_raises(direct: bool) -> None:
    def refused(it: Running, kind: type[Exception]) -> None:
        with pytest.raises(kind):
            client(it).generate("Once upon", max_new_tokens=2)

    async with a_gateway(TGI, direct=direct, **KEYS) as it:
        it.engine.inject("status=429", count=9)
        await anyio.to_thread.run_sync(refused, it, OverloadedError)
        it.engine.clear_faults()
        it.engine.inject("status=424", count=9)
        await anyio.to_thread.run_sync(refused, it, GenerationError)
        it.engine.clear_faults()
        it.engine.inject("status=422")
        await anyio.to_thread.run_sync(refused, it, ValidationError)


async def test_a_key_is_asked_for(direct: bool) -> None:
    async with a_gateway(TGI, direct=direct, **KEYS) as it, httpx.AsyncClient() as http:
        answer = await http.post(f"{it.url}/tgi/m/generate", json={"inputs": "Once"})
        info = await http.get(f"{it.url}/tgi/m/info")
    assert (answer.status_code, info.status_code) == (401, 401)
    assert set(answer.json()) == {"error", "error_type"}


@pytest.mark.parametrize("asks", [True, False])
async def test_details_are_shown_only_to_those_who_ask(asks: bool, direct: bool) -> None:
    body = {"inputs": "Once", "parameters": {"max_new_tokens": 2, "details": asks}}
    async with a_gateway(TGI, direct=direct) as it, httpx.AsyncClient() as http:
        answer = await http.post(f"{it.url}/tgi/m/generate_stream", json=body)
    last = json.loads(answer.content.strip().split(b"\n\n")[-1].removeprefix(b"data:"))
    assert (last["details"] is not None) is asks
    assert b"[DONE]" not in answer.content


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"inputs": 5}, 422),
        ({"inputs": "", "parameters": {"max_new_tokens": 2}}, 422),
        ({"inputs": "x", "parameters": {"max_new_tokens": 1_000_000}}, 422),
    ],
)
async def test_bad_input_has_tgis_status_and_shape(
    body: dict[str, Any], status: int, direct: bool
) -> None:
    async with a_gateway(TGI, direct=direct) as it, httpx.AsyncClient() as http:
        answer = await http.post(f"{it.url}/tgi/m/generate", json=body)
    assert answer.status_code == status
    assert answer.json()["error_type"] == "validation"


async def test_a_stream_that_breaks_ends_in_tgis_error_event(direct: bool) -> None:
    async with a_gateway(TGI, direct=direct) as it, httpx.AsyncClient() as http:
        it.engine.inject("reset-after=2")
        answer = await http.post(
            f"{it.url}/tgi/m/generate_stream",
            json={"inputs": "Once", "parameters": {"max_new_tokens": 9}},
        )
    last = json.loads(answer.content.strip().split(b"\n\n")[-1].removeprefix(b"data: "))
    assert last["error_type"] == "generation"


async def test_info_is_what_the_engine_says(direct: bool) -> None:
    async with a_gateway(TGI, direct=direct) as it, httpx.AsyncClient() as http:
        answer = await http.get(f"{it.url}/tgi/m/info")
        unknown = await http.get(f"{it.url}/tgi/nobody/info")
        nothing = await http.post(f"{it.url}/tgi/m/tokenize", json={"inputs": "x"})
    assert answer.json()["model_id"] == "sim"
    assert unknown.status_code == 404
    assert unknown.json()["error_type"] == "validation"
    assert nothing.status_code == 404


async def test_openais_routes_below_tgi_take_the_model_from_the_path(direct: bool) -> None:
    body = {"model": "tgi", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    async with a_gateway(TGI, direct=direct) as it, httpx.AsyncClient() as http:
        answer = await http.post(f"{it.url}/tgi/m/v1/chat/completions", json=body)
    assert answer.json()["model"] == "m"


async def test_a_model_on_another_engine_has_no_tgi_api(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, httpx.AsyncClient() as http:
        answer = await http.post(f"{it.url}/tgi/m/generate", json={"inputs": "Once"})
        info = await http.get(f"{it.url}/tgi/m/info")
    assert answer.status_code == 422
    assert info.status_code == 400


async def test_info_is_asked_of_the_next_replica_when_one_is_away() -> None:
    model = {
        "variants": [
            {"engine": "tgi", "served_model": "sim", "replicas": [{"url": "http://127.0.0.1:9"}]}
        ]
    }
    async with a_gateway(TGI, model=model) as it, httpx.AsyncClient() as http:
        away = await http.get(f"{it.url}/tgi/m/info")
    assert away.status_code == 503


async def test_the_endpoints_are_in_the_openapi_document() -> None:
    async with a_gateway(TGI) as it, httpx.AsyncClient() as http:
        document = (await http.get(f"{it.url}/openapi.json")).json()
    assert "/v1/chat/completions" in document["paths"]
    assert "/tgi/{model}/generate" in document["paths"]
    assert "/chat/stream" in document["paths"]
    assert "/ready" in document["paths"]
