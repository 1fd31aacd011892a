"""What operators and their machines see: health, readiness, metrics, the fleet, and headers."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.simulator.options import EngineOptions
from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, a_gateway, until

PATH = "/v1/chat/completions"
ADMIN = {"GATEWAY_ADMIN_KEY": "the-admin-key"}
KEYS = [{"name": "team", "secret": {"value": "sk-team"}}]


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 6} | more


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@asynccontextmanager
async def client_of(it: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=it.url, timeout=20) as client:
        yield client


class Scrape:
    """The samples of one `GET /metrics`."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.samples = [
            sample
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert found, f"no {name} with {labels}"
        return sum(found)


async def scraped(client: httpx.AsyncClient) -> Scrape:
    return Scrape(await client.get("/metrics"))


async def test_health_is_200_while_the_process_lives() -> None:
    async with a_gateway() as it, client_of(it) as client:
        it.gateway.begin_drain()
        answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


async def test_ready_says_yes_for_every_model() -> None:
    async with a_gateway() as it, client_of(it) as client:
        answer = await client.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "reasons": [],
        "models": {"m": "ready"},
        "limits": {"store": "memory", "state": "ok"},
        "config_problems": [],
        "discovery": [],
    }


async def test_before_the_engines_were_asked_it_is_not_ready() -> None:
    async with a_gateway() as it, client_of(it) as client:
        it.gateway.readiness.is_started = False
        answer = await client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["reasons"] == ["starting: the engines have not been asked yet"]


async def test_while_draining_it_is_not_ready() -> None:
    async with a_gateway() as it, client_of(it) as client:
        it.gateway.begin_drain()
        answer = await client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["draining: this gateway is shutting down"]


async def test_a_model_without_a_usable_replica_is_named_and_the_rest_stays_ready() -> None:
    async with a_gateway() as it, client_of(it) as client:
        (state,) = it.gateway.inference.exchange.fleet
        it.engine.is_loading = True
        await until(lambda: not state.is_usable, within_s=10)
        answer = await client.get("/ready")
        metrics = await scraped(client)
    assert answer.status_code == 200
    assert answer.json()["models"] == {"m": "no replica"}
    assert metrics.total("gateway_replica_usable", model="m") == 0


async def test_what_is_wrong_with_a_refused_file_is_shown() -> None:
    async with a_gateway() as it, client_of(it) as client:
        it.gateway.readiness.config_problems = ("models: required",)
        answer = await client.get("/ready")
        metrics = await scraped(client)
    assert answer.status_code == 200
    assert answer.json()["config_problems"] == ["models: required"]
    assert metrics.total("gateway_config_valid") == 0


async def test_calls_are_counted_by_route_and_outcome(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, client_of(it) as client:
        for _ in range(3):
            assert (await client.post(PATH, json=chat())).status_code == 200
        it.engine.inject("status=500", count=1)
        assert (await client.post(PATH, json=chat())).status_code == 502
        assert (await client.post(PATH, json=chat(model="other"))).status_code == 404
        await it.settled()
        metrics = await scraped(client)
        replica = it.log.requests[0]["replica"]
    route = {"model": "m", "variant": "m", "replica": replica}
    assert metrics.total("gateway_requests_total", **route, outcome="ok") == 3
    assert metrics.total("gateway_requests_total", **route, outcome="engine_error") == 1
    assert metrics.total("gateway_requests_total", model="", outcome="client_error") == 1
    assert metrics.total("gateway_attempts_total", **route, outcome="ok") == 3
    assert metrics.total("gateway_attempts_total", **route, outcome="engine_error") == 1
    duration = "gen_ai_server_request_duration_seconds"
    assert metrics.total(f"{duration}_count", **route, outcome="ok") == 3
    assert metrics.total(f"{duration}_bucket", **route, outcome="ok", le="+Inf") == 3
    assert metrics.total(f"{duration}_sum", **route, outcome="ok") > 0


async def test_a_retry_counts_as_an_attempt_and_not_as_a_request() -> None:
    async with a_gateway(FAST, FAST) as it, client_of(it) as client:
        it.engines[0].inject("status=500")
        for _ in range(4):
            assert (await client.post(PATH, json=chat())).status_code == 200
        await it.settled()
        metrics = await scraped(client)
        tries = sum(line["attempts"] for line in it.log.requests)
    assert tries > 4
    assert metrics.total("gateway_requests_total") == 4
    assert metrics.total("gateway_attempts_total") == tries
    assert metrics.total("gateway_attempts_total", outcome="engine_error") == tries - 4


async def test_tokens_are_counted_as_the_engine_counted_them(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, client_of(it) as client:
        for stream in (False, True):
            answer = await client.post(PATH, json=chat(stream=stream))
            assert answer.status_code == 200
        await it.settled()
        metrics = await scraped(client)
        lines = it.log.requests
    assert metrics.total("gateway_tokens_total", model="m", type="output") == 12
    read = sum(line["prompt_tokens"] for line in lines)
    assert metrics.total("gateway_tokens_total", model="m", type="input") == read > 0


async def test_streams_tell_the_time_to_the_first_token_and_between_tokens(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, client_of(it) as client:
        await client.post(PATH, json=chat())
        await client.post(PATH, json=chat(stream=True))
        await it.settled()
        metrics = await scraped(client)
    ttft = "gen_ai_server_time_to_first_token_seconds"
    assert metrics.total(f"{ttft}_count", model="m") == 1
    assert metrics.total(f"{ttft}_sum", model="m") > 0
    between = "gateway_inter_token_latency_seconds"
    assert 1 <= metrics.total(f"{between}_count", model="m") <= 6


async def test_calls_in_flight_are_shown_while_they_run(direct: bool) -> None:
    async with a_gateway(direct=direct) as it, client_of(it) as client:
        it.engine.inject("stall-before-headers")

        async def call() -> None:
            await client.post(PATH, json=chat())

        async with anyio.create_task_group() as calls:
            calls.start_soon(call)
            calls.start_soon(call)
            await until(lambda: it.in_flight == 2, within_s=5)
            async with client_of(it) as other:
                during = await scraped(other)
            calls.cancel_scope.cancel()
        await it.settled()
        after = await scraped(client)
    assert during.total("gateway_requests_in_flight", model="m") == 2
    assert during.total("gateway_replica_load", model="m") >= 2
    assert after.total("gateway_requests_in_flight", model="m") == 0
    assert after.total("gateway_requests_total", outcome="client_gone") == 2


async def test_what_an_engine_tells_of_its_cache_is_shown() -> None:
    async with a_gateway() as it, client_of(it) as client:
        metrics = await scraped(client)
    assert metrics.total("gateway_replica_kv_cache_used_ratio", model="m") == 0
    assert metrics.total("gateway_replica_usable", model="m") == 1
    assert metrics.total("gateway_config_valid") == 1


async def test_an_engine_that_tells_nothing_of_its_cache_has_no_figure() -> None:
    silent = EngineOptions(engine="openai", models=("sim",))
    async with a_gateway(silent) as it, client_of(it) as client:
        metrics = await scraped(client)
    assert "gateway_replica_kv_cache_used_ratio" not in {one.name for one in metrics.samples}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_admin_key_shows_the_fleet(scheme: str) -> None:
    async with a_gateway(environ=ADMIN) as it, client_of(it) as client:
        headers = {"authorization": f"{scheme} the-admin-key"}
        answer = await client.get("/admin/fleet", headers=headers)
        (replica,) = answer.json()["replicas"]
    assert answer.status_code == 200
    assert replica["model"] == replica["variant"] == "m"
    assert replica["url"] == it.engine.url
    assert replica["engine"] == "vllm"
    assert replica["condition"] == "ready"
    assert replica["in_flight"] == 0


@pytest.mark.parametrize("environ", [{}, {"GATEWAY_ADMIN_KEY": ""}, ADMIN])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        bearer("sk-team"),
        bearer("the-admin-ke"),
        {"authorization": "the-admin-key"},
        {"authorization": "Basic the-admin-key"},
    ],
)
async def test_nothing_else_opens_admin(environ: dict[str, str], headers: dict[str, str]) -> None:
    async with a_gateway(environ=environ, keys=KEYS) as it, client_of(it) as client:
        answer = await client.get("/admin/fleet", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "replicas" not in answer.text


async def test_the_admin_key_is_no_callers_key() -> None:
    async with a_gateway(environ=ADMIN, keys=KEYS) as it, client_of(it) as client:
        answer = await client.post(PATH, json=chat(), headers=bearer("the-admin-key"))
        models = await client.get("/v1/models", headers=bearer("the-admin-key"))
    assert answer.status_code == models.status_code == 401


async def test_browsers_of_other_sites_are_let_in_only_where_the_operator_says_so() -> None:
    origin = {"origin": "https://chat.example"}
    async with a_gateway() as it, client_of(it) as client:
        closed = await client.post(PATH, json=chat(), headers=origin)
    cors = {"allow_origins": ["https://chat.example"]}
    async with a_gateway(cors=cors) as it, client_of(it) as client:
        opened = await client.post(PATH, json=chat(), headers=origin)
        other = await client.post(PATH, json=chat(), headers={"origin": "https://evil.example"})
        asked = await client.options(
            PATH,
            headers=origin
            | {
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization, x-stainless-lang",
            },
        )
    assert "access-control-allow-origin" not in closed.headers
    assert opened.status_code == 200
    assert opened.headers["access-control-allow-origin"] == "https://chat.example"
    assert "x-request-id" in opened.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in other.headers
    assert asked.status_code == 200
    assert "x-stainless-lang" in asked.headers["access-control-allow-headers"]


ANSWERS = [
    ("GET", "/health", 200),
    ("GET", "/ready", 200),
    ("GET", "/metrics", 200),
    ("GET", "/v1/models", 401),
    ("GET", "/v1/models/none", 401),
    ("GET", "/admin/fleet", 401),
    ("GET", "/nowhere", 404),
    ("GET", PATH, 405),
    ("DELETE", "/health", 405),
    ("POST", PATH, 401),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
async def test_every_answer_has_a_request_id(
    method: str, path: str, status: int, direct: bool
) -> None:
    async with a_gateway(direct=direct, keys=KEYS) as it, client_of(it) as client:
        body = chat() if method == "POST" else None
        ours = await client.request(method, path, json=body)
        own = await client.request(method, path, json=body, headers={"x-request-id": "my-1.2:3_4"})
        wild = await client.request(method, path, json=body, headers={"x-request-id": 'a b"<c>'})
    assert ours.status_code == own.status_code == wild.status_code == status
    assert own.headers.get_list("x-request-id") == ["my-1.2:3_4"]
    for answer in (ours, wild):
        (given,) = answer.headers.get_list("x-request-id")
        assert re.fullmatch(r"req_[0-9a-f]{24}", given)


async def test_errors_outside_inference_are_openais_too() -> None:
    async with a_gateway() as it, client_of(it) as client:
        lost = await client.get("/nowhere")
        wrong = await client.get(PATH)
    assert lost.json()["error"] == {
        "message": "unknown request URL: GET /nowhere",
        "type": "invalid_request_error",
        "param": None,
        "code": "unknown_url",
    }
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    assert wrong.headers["allow"] == "POST"
