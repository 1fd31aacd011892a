"""vLLM's own spans join ours: one trace from the client to the engine's scheduler."""

from typing import Any

import httpx
import pytest

from tests.engines.conftest import StartAnother
from tests.support.otlp_receiver import Seen, grpc_receiver
from tests.support.running import running, until

TRACE = "0af7651916cd43dd8448eb211c80319c"


def is_a_request(seen: Seen) -> bool:
    return seen.resource["service.name"] == "vllm" and seen.name == "llm_request"


async def test_vllms_span_is_a_child_of_the_try(
    start_another_vllm: StartAnother, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "vllm")
    with grpc_receiver() as collector:
        engine = start_another_vllm(["--otlp-traces-endpoint", collector.url])
        monkeypatch.delenv("OTEL_SERVICE_NAME")
        model = {"name": "m", "engine": "vllm", "url": engine.url, "served_model": "tiny"}
        telemetry = {"otlp_endpoint": collector.url, "otlp_protocol": "grpc", "sample_ratio": 0}
        async with running({"models": [model], "telemetry": telemetry}) as it:
            body: dict[str, Any] = {
                "model": "m",
                "messages": [{"role": "user", "content": "Hello"}],
                "max_tokens": 6,
                "stream": True,
            }
            async with httpx.AsyncClient(timeout=60) as client:
                url = f"{it.url}/v1/chat/completions"
                unsampled = await client.post(url, json=body)
                parent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
                sampled = await client.post(url, json=body, headers=parent)
            assert unsampled.status_code == sampled.status_code == 200
            await until(lambda: any(is_a_request(one) for one in collector.spans), within_s=60)
    ours = [one for one in collector.spans if one.resource["service.name"] == "sluicegate"]
    (client_span,) = (one for one in ours if one.name == "chat tiny")
    # vLLM traces its own start as well; the call that we did not sample it did not record
    (request,) = (one for one in collector.spans if is_a_request(one))
    assert {one.trace_id for one in ours} == {request.trace_id} == {TRACE}
    assert request.parent == client_span.span_id
    assert request.attributes["gen_ai.usage.completion_tokens"] == 6
    span, inner = client_span.span, request.span
    assert span.start_time_unix_nano <= inner.start_time_unix_nano
    assert inner.end_time_unix_nano <= span.end_time_unix_nano + 1_000_000_000
