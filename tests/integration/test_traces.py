"""Traces of calls, as a real collector receives them."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from tests.support.counted import counted
from tests.support.openmetrics import ACCEPT, exemplars
from tests.support.otlp_receiver import Receiver, Seen, grpc_receiver, http_receiver
from tests.support.ports import free_port
from tests.support.running import FAST, Running, a_gateway, until

PATH = "/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SECRET_WORDS = "the launch code is 0000"


@pytest.fixture(params=[http_receiver, grpc_receiver], ids=["http", "grpc"])
def collector(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with request.param() as receiver:
        yield receiver


def traced(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"otlp_endpoint": receiver.url, "otlp_protocol": receiver.protocol} | more


def chat(**more: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": SECRET_WORDS}],
        "max_tokens": 6,
    } | more


async def post(it: Running, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(it.url + PATH, json=chat(**more), headers=headers or {})
    await it.settled()
    return answer


def around(parent: Seen, child: Seen) -> bool:
    a, b = parent.span, child.span
    return (
        a.start_time_unix_nano <= b.start_time_unix_nano
        and b.end_time_unix_nano <= a.end_time_unix_nano
    )


async def test_a_stream_is_a_server_span_a_client_span_and_its_parts(
    collector: Receiver, direct: bool
) -> None:
    async with a_gateway(FAST, direct=direct, telemetry=traced(collector)) as it:
        given = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
        answer = await post(it, given, stream=True, temperature=0.5, top_k=4, seed=7)
        assert answer.status_code == 200
        await collector.has(5)
    assert {one.trace_id for one in collector.spans} == {TRACE}
    assert all(one.span.trace_state == "vendor=1" for one in collector.spans)
    (server,), (client,) = collector.of_kind("server"), collector.of_kind("client")
    assert (server.name, client.name) == ("chat m", "chat sim")
    assert server.parent == PARENT
    assert client.parent == server.span_id
    parts = collector.children(client)
    assert [one.name for one in parts] == ["connect", "first token", "stream"]
    assert all(around(client, one) for one in parts)
    assert around(server, client)
    ends = [one.span.end_time_unix_nano for one in parts]
    assert [one.span.start_time_unix_nano for one in parts][1:] == ends[:-1]

    told = server.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "vllm"
    assert told["gen_ai.request.model"] == "m"
    assert told["gen_ai.request.stream"] is True
    assert told["gen_ai.request.max_tokens"] == 6
    assert told["gen_ai.request.temperature"] == 0.5
    assert (told["gen_ai.request.top_k"], told["gen_ai.request.seed"]) == (4, 7)
    assert told["gen_ai.response.finish_reasons"] == ["length"]
    assert told["gen_ai.usage.output_tokens"] == 6
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["http.response.status_code"] == 200
    assert "error.type" not in told
    line = it.log.requests[-1]
    assert told["gen_ai.server.time_to_first_token"] * 1000 == pytest.approx(line["ttft_ms"])
    assert told["sluicegate.request_id"] == line["request_id"] == answer.headers["x-request-id"]
    assert line["trace_id"] == TRACE

    asked = client.attributes
    assert asked["server.address"] == "127.0.0.1"
    assert asked["server.port"] == int(it.engine.url.rpartition(":")[2])
    assert asked["gen_ai.request.model"] == "sim"
    assert asked["gen_ai.usage.output_tokens"] == 6
    assert asked["gen_ai.response.time_to_first_chunk"] > 0
    assert asked["sluicegate.try"] == "first"

    resource = server.resource
    assert resource["service.name"] == "sluicegate"
    assert resource["service.version"]
    assert server.scope == "sluicegate"


async def marked(it: Running) -> dict[str, dict[str, str]]:
    """The ids of the traced call of each histogram that has one."""
    async with httpx.AsyncClient(timeout=20) as client:
        text = (await client.get(it.url + "/metrics", headers=ACCEPT)).text
    return {name: one.labels for name, one in exemplars(text).items()}


async def test_metrics_name_the_trace_of_a_sampled_call_and_of_no_other(
    collector: Receiver, direct: bool
) -> None:
    async with a_gateway(FAST, direct=direct, telemetry=traced(collector)) as it:
        await post(it, {"traceparent": f"00-{'1' * 32}-{PARENT}-00"}, stream=True)
        assert await marked(it) == {}
        await post(it, {"traceparent": f"00-{TRACE}-{PARENT}-01"}, stream=True)
        await collector.has(4)
        found = await marked(it)
    (server,) = collector.of_kind("server")
    assert found == {
        f"gen_ai_server_{name}_seconds": {"trace_id": TRACE, "span_id": server.span_id}
        for name in ("request_duration", "time_to_first_token", "time_per_output_token")
    }


async def test_the_engine_is_told_the_client_span(collector: Receiver) -> None:
    async with a_gateway(telemetry=traced(collector)) as it:
        await post(it, {"traceparent": f"00-{TRACE}-{PARENT}-00", "tracestate": "vendor=1"})
        await post(it)
    told = [one.headers for one in it.engine.requests]
    assert told[0]["traceparent"].startswith(f"00-{TRACE}-")
    assert told[0]["traceparent"].endswith("-00")
    assert PARENT not in told[0]["traceparent"]
    assert told[0]["tracestate"] == "vendor=1"
    assert told[1]["traceparent"].endswith("-01")
    assert TRACE not in told[1]["traceparent"]


async def test_what_is_not_sampled_is_not_sent_unless_it_failed_or_was_slow() -> None:
    with http_receiver() as collector:
        async with a_gateway(telemetry=traced(collector, sample_ratio=0, slow_s=0.5)) as it:
            await post(it)
            it.engine.inject("status=500", count=1)
            assert (await post(it)).status_code == 502
            it.engine.inject("stall-before-headers", count=1)
            await post(it, {"x-request-timeout-ms": "600"})
            assert (await post(it, model="nobody")).status_code == 404
        await collector.has(4)
        ids = {one.trace_id for one in collector.spans}
        lines = it.log.requests
    assert [("trace_id" in line) for line in lines] == [False, True, True, False]
    assert {line["trace_id"] for line in lines if "trace_id" in line} == ids
    failed, slow = collector.of_kind("server")
    assert failed.attributes["error.type"] == lines[1]["error_code"]
    assert failed.span.status.code == failed.span.status.STATUS_CODE_ERROR
    assert slow.took_ms >= 500


async def test_each_try_has_a_span_and_says_why_it_failed(direct: bool) -> None:
    with http_receiver() as collector:
        telemetry = traced(collector, sample_ratio=0)
        async with a_gateway(FAST, FAST, direct=direct, telemetry=telemetry) as it:
            first = min(it.gateway.inference.exchange.fleet, key=lambda state: state.turns)
            it.engines[int(first.name[1:])].inject("status=500")
            assert (await post(it)).status_code == 200
        await collector.has(5)
    (server,) = collector.of_kind("server")
    failed, answered = collector.of_kind("client")
    assert failed.parent == answered.parent == server.span_id
    assert failed.span.status.code == failed.span.status.STATUS_CODE_ERROR
    assert failed.attributes["error.type"] == "engine_error"
    assert "gen_ai.usage.output_tokens" not in failed.attributes
    assert answered.attributes["sluicegate.try"] == "retry"
    assert answered.attributes["gen_ai.usage.output_tokens"] == 6
    assert answered.span.status.code == answered.span.status.STATUS_CODE_UNSET
    assert server.attributes["sluicegate.attempts"] == 2
    told = [one.headers["traceparent"] for engine in it.engines for one in engine.requests]
    assert {one.split("-")[2] for one in told} == {failed.span_id, answered.span_id}


async def test_a_resumed_stream_links_its_legs() -> None:
    with http_receiver() as collector:
        async with a_gateway(FAST, FAST, telemetry=traced(collector)) as it:
            first = min(it.gateway.inference.exchange.fleet, key=lambda state: state.turns)
            it.engines[int(first.name[1:])].inject("reset-after=3")
            assert (await post(it, stream=True, max_tokens=20)).status_code == 200
        await collector.has(9)
    broken, resumed = collector.of_kind("client")
    (link,) = resumed.span.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (broken.trace_id, broken.span_id)
    assert not broken.span.links
    assert resumed.attributes["sluicegate.try"] == "resume"
    assert broken.attributes["error.type"] == "stream_broken"


async def test_a_second_try_beside_a_late_one_has_a_span_of_its_own() -> None:
    with http_receiver() as collector:
        async with a_gateway(
            FAST, FAST, model={"hedging": {"extra_ratio": 0.5}}, telemetry=traced(collector)
        ) as it:
            for _ in range(48):
                await post(it)
            await collector.has(48)
            it.engine.inject("stall-before-headers")
            for _ in range(4):
                await post(it)
        tries = [one.attributes for one in collector.of_kind("client")]
    hedges = [one for one in tries if one["sluicegate.try"] == "hedge"]
    assert hedges
    assert any(one.get("error.type") == "outdone" for one in tries)


async def test_nobodys_words_or_keys_are_sent(collector: Receiver) -> None:
    keys = [{"name": "team", "secret": {"value": "sk-very-secret"}}]
    headers = {"x-tenant": {"value": "collectors-own-secret"}}
    async with a_gateway(telemetry=traced(collector, otlp_headers=headers), keys=keys) as it:
        given = {"authorization": "Bearer sk-very-secret"}
        answer = await post(it, given, stop=[SECRET_WORDS], user=SECRET_WORDS)
        said = answer.json()["choices"][0]["message"]["content"]
        assert (await post(it, given, n="x")).status_code == 400
        await collector.has(4)
    assert collector.headers[0]["x-tenant"] == "collectors-own-secret"
    for words in (SECRET_WORDS, said, "sk-very-secret", "collectors-own-secret"):
        assert words.encode() not in collector.raw
    assert collector.of_kind("server")[0].attributes["sluicegate.caller"] == "team"


@pytest.mark.parametrize("stream", [False, True])
async def test_words_are_recorded_where_the_operator_says_so(stream: bool, direct: bool) -> None:
    with http_receiver() as collector:
        telemetry = traced(collector, record_content=True)
        async with a_gateway(direct=direct, telemetry=telemetry) as it:
            answer = await post(it, stream=stream)
            await collector.has(3)
    told = collector.of_kind("server")[0].attributes
    (asked,) = json.loads(told["gen_ai.input.messages"])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": SECRET_WORDS}]}
    (said,) = json.loads(told["gen_ai.output.messages"])
    assert (said["role"], said["finish_reason"]) == ("assistant", "length")
    (part,) = said["parts"]
    assert part["content"]
    if not stream:
        assert part["content"] == answer.json()["choices"][0]["message"]["content"]


async def test_a_collector_that_is_away_costs_nothing_but_a_counter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for protocol in ("grpc", "http/protobuf"):
        caplog.clear()
        telemetry = {
            "otlp_endpoint": f"http://127.0.0.1:{free_port()}",
            "otlp_protocol": protocol,
        }
        async with a_gateway(telemetry=telemetry) as it:
            for _ in range(3):
                assert (await post(it)).status_code == 200
            metrics = it.gateway.books._metrics
            await until(lambda: "trace_export_state" in caplog.text, within_s=10)
        assert counted(metrics, "gateway_trace_spans", "result")["failed"] >= 6
        told = [one for one in caplog.records if one.message == "trace_export_state"]
        assert [one.__dict__["state"] for one in told] == ["away"]


async def test_a_collector_that_is_busy_gets_the_spans_later(collector: Receiver) -> None:
    busy = 503 if collector.protocol == "http/protobuf" else grpc.StatusCode.UNAVAILABLE
    collector.failures.append(busy)
    async with a_gateway(telemetry=traced(collector)) as it:
        await post(it)
        await collector.has(3)
    metrics = it.gateway.books._metrics
    assert counted(metrics, "gateway_trace_spans", "result") == {"sent": 3}


async def test_what_a_collector_refuses_is_counted_and_not_sent_again(collector: Receiver) -> None:
    collector.refused = 2
    async with a_gateway(telemetry=traced(collector)) as it:
        await post(it)
        await collector.has(3)
        refusal = 400 if collector.protocol == "http/protobuf" else grpc.StatusCode.INVALID_ARGUMENT
        collector.failures.append(refusal)
        await post(it)
    metrics = it.gateway.books._metrics
    told = counted(metrics, "gateway_trace_spans", "result")
    assert told["sent"] == 1
    assert told["failed"] >= 4


@pytest.mark.parametrize(
    ("given", "passed"),
    [(f"00-{TRACE}-{PARENT}-01", True), (f"00-{'0' * 32}-{PARENT}-01", False), (None, False)],
)
async def test_without_tracing_a_callers_trace_passes_through(
    given: str | None, passed: bool
) -> None:
    async with a_gateway() as it:
        headers = {"tracestate": "vendor=1"} | ({} if given is None else {"traceparent": given})
        await post(it, headers)
    (seen,) = it.engine.requests
    assert seen.headers.get("traceparent") == (given if passed else None)
    assert seen.headers.get("tracestate") == ("vendor=1" if passed else None)
    assert it.log.requests[0].get("trace_id") == (TRACE if passed else None)
