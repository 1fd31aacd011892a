"""What a streaming client sees when engines behave, stall, break and lie."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineOptions
from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, a_gateway, until

PATH = "/v1/chat/completions"


def chat(**more: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "max_tokens": 12,
    } | more


def only_text(body: bytes) -> str:
    """The content of all chunks."""
    text = ""
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        if event.startswith(b"data: {"):
            for choice in json.loads(event[6:]).get("choices", []):
                text += choice["delta"].get("content") or ""
    return text


def error_of(body: bytes) -> dict[str, Any]:
    """The error event that ends a stream."""
    last = body.strip().split(b"\n\n")[-1]
    assert last.startswith(b"data: {"), body[-300:]
    error: dict[str, Any] = json.loads(last[6:])["error"]
    return error


async def post(it: Running, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(it.url + PATH, json=body)


async def whole_text(it: Running, **more: Any) -> str:
    answer = await post(it, chat(stream=False, **more))
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("fault", ["split=1", "split=7", "crlf"])
async def test_a_stream_cut_anywhere_arrives_whole(fault: str, direct: bool) -> None:
    engine = EngineOptions(models=("sim",), inter_token_s=0.001, unicode=True)
    async with a_gateway(engine, direct=direct) as it:
        wanted = await whole_text(it, max_tokens=60)
        it.engine.inject(fault)
        answer = await post(it, chat(max_tokens=60))
        await it.settled()
    assert only_text(answer.content) == wanted
    assert answer.content.rstrip().endswith(b"data: [DONE]")


async def test_bytes_are_passed_on_unchanged_where_nothing_has_to_change(direct: bool) -> None:
    async with a_gateway(direct=direct, model={"name": "sim"}) as it:
        body = chat(model="sim", stream_options={"include_usage": True})
        async with httpx.AsyncClient() as client:
            headers = {"x-request-id": "abc"}
            answer = await client.post(it.url + PATH, json=body, headers=headers)
            engine = await client.post(it.engine.url + PATH, json=body, headers=headers)
    assert _without_times(answer.content) == _without_times(engine.content)
    assert answer.headers["content-type"].startswith("text/event-stream")


def _without_times(body: bytes) -> list[bytes]:
    return [line.split(b'"created":')[0] for line in body.split(b"\n") if b"usage" not in line]


@pytest.mark.parametrize(
    "fault",
    [
        "reset-after=3",
        "truncate-after=3",
        "abort-after=3",
        "error-event-after=3;code=500",
        "cut-at-byte=1200",
    ],
)
async def test_a_break_after_content_ends_in_one_error_event(fault: str, direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        wanted = await whole_text(it)
        it.engine.inject(fault, count=1)
        answer = await post(it, chat())
        again = await post(it, chat())
        await it.settled()
    assert answer.status_code == 200
    assert b"[DONE]" not in answer.content
    assert b"abort" not in answer.content
    error = error_of(answer.content)
    assert error["type"] == "server_error"
    assert set(error) == {"message", "type", "param", "code"}
    text = only_text(answer.content)
    assert text
    assert wanted.startswith(text)
    assert only_text(again.content) == wanted
    assert it.log.requests[1]["outcome"] == "engine_error"


@pytest.mark.parametrize("fault", ["no-done"])
async def test_a_finished_answer_without_done_is_completed(fault: str, direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        it.engine.inject(fault)
        answer = await post(it, chat())
    assert answer.content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "fault",
    [
        "refuse",
        "reset-before-headers",
        "close-before-headers",
        "half-status-line",
        "bad-header",
        "huge-head=70000",
        "status=500",
        "status=503;retry-after=1",
        "html-error=502",
        "error-event-first",
        "reset-after=0",
        "truncate-after=0",
        "abort-after=0",
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_content_is_answered_by_another_replica(
    fault: str, stream: bool
) -> None:
    async with a_gateway(FAST, FAST) as it:
        wanted = await whole_text(it)
        for engine in it.engines:
            engine.clear_faults()
        it.engines[0].inject(fault)
        for _ in range(4):
            answer = await post(it, chat(stream=stream))
            assert answer.status_code == 200, answer.text
            if stream:
                assert only_text(answer.content) == wanted
            else:
                assert answer.json()["choices"][0]["message"]["content"] == wanted
        await it.settled()
    assert max(line["attempts"] for line in it.log.requests) == (
        1 if not stream and fault in _ONLY_IN_STREAMS else 2
    )


_ONLY_IN_STREAMS = {"error-event-first", "reset-after=0", "truncate-after=0", "abort-after=0"}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("refuse", 502, "engine_unreachable"),
        ("half-status-line", 502, "engine_unreachable"),
        ("bad-header", 502, "engine_error"),
        ("status=500", 502, "engine_error"),
        ("html-error=502", 502, "engine_error"),
        ("status=503;retry-after=7", 503, "server_overloaded"),
        ("status=429", 503, "server_overloaded"),
        ("error-event-first;code=500", 502, "engine_error"),
        ("error-event-first;code=400", 400, None),
        ("status=404", 503, "engine_misconfigured"),
        ("status=422", 422, None),
    ],
)
async def test_without_another_replica_a_failure_is_a_true_status(
    fault: str, status: int, code: str | None, direct: bool
) -> None:
    async with a_gateway(direct=direct) as it:
        it.engine.inject(fault)
        answer = await post(it, chat())
        await it.settled()
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.headers["x-request-id"]
    assert "127.0.0.1" not in answer.text
    assert "nginx" not in answer.text
    if "retry-after=7" in fault:
        assert answer.headers["retry-after"] == "7"
        assert answer.headers["retry-after-ms"] == "7000"


async def test_an_engine_that_is_away_is_a_502(direct: bool) -> None:
    model = {"variants": [{"engine": "vllm", "replicas": [{"url": "http://127.0.0.1:9"}]}]}
    async with a_gateway(direct=direct, model=model) as it:
        answer = await post(it, chat())
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "engine_unreachable"


async def test_a_silent_engine_is_a_504_after_the_first_byte_timeout(direct: bool) -> None:
    async with a_gateway(direct=direct, model={"timeouts": {"first_byte_s": 0.3}}) as it:
        for fault in ("stall-before-headers", "stall-before-content"):
            it.engine.clear_faults()
            it.engine.inject(fault)
            answer = await post(it, chat())
            assert answer.status_code == 504
            assert answer.json()["error"]["code"] == "engine_timeout"
        await it.settled()


async def test_a_stall_in_the_middle_is_an_error_event(direct: bool) -> None:
    async with a_gateway(direct=direct, model={"timeouts": {"idle_s": 0.3}}) as it:
        it.engine.inject("stall-after=3")
        answer = await post(it, chat())
        await it.settled()
    assert error_of(answer.content)["code"] == "stream_stalled"


async def test_the_whole_call_has_a_deadline(direct: bool) -> None:
    async with a_gateway(direct=direct, model={"timeouts": {"total_s": 0.4}}) as it:
        it.engine.inject("drip")
        streamed = await post(it, chat())
        it.engine.clear_faults()
        it.engine.inject("stall-before-headers")
        whole = await post(it, chat(stream=False))
        await it.settled()
    assert streamed.status_code in (200, 504)
    assert whole.status_code == 504
    assert whole.json()["error"]["code"] in ("deadline_exceeded", "engine_timeout")


async def test_heartbeats_keep_a_silent_stream_alive_and_the_answer_still_comes(
    direct: bool,
) -> None:
    slow = EngineOptions(models=("sim",), inter_token_s=0.5)
    async with a_gateway(slow, direct=direct, server={"heartbeat_s": 0.1}) as it:
        answer = await post(it, chat(max_tokens=2))
    assert answer.content.startswith(b": ping\n\n")
    assert answer.content.count(b": ping") >= 4
    assert answer.content.endswith(b"data: [DONE]\n\n")


async def test_after_a_heartbeat_a_failure_is_still_answered_elsewhere() -> None:
    stalls: dict[str, Any] = {"server": {"heartbeat_s": 0.1}, "retries": {"after_timeout": True}}
    model = {"timeouts": {"first_byte_s": 0.4}}
    async with a_gateway(FAST, FAST, model=model, **stalls) as it:
        it.engines[0].inject("stall-before-content")
        answers = [await post(it, chat()) for _ in range(3)]
    pinged = [answer for answer in answers if answer.content.startswith(b": ping")]
    answer = pinged[0]
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert answer.content.count(b'"role":"assistant"') == 1


async def test_events_of_a_megabyte_pass(direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        it.engine.inject("huge-event=1000000")
        answer = await post(it, chat())
    assert len(answer.content) > 1_000_000
    assert answer.content.endswith(b"data: [DONE]\n\n")


async def test_an_event_over_the_bound_is_an_error(direct: bool) -> None:
    async with a_gateway(direct=direct, server={"max_event_bytes": 50_000}) as it:
        it.engine.inject("huge-event=1000000")
        answer = await post(it, chat())
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "engine_error"


@asynccontextmanager
async def a_raw_stream(it: Running, **more: Any) -> AsyncIterator[anyio.abc.SocketStream]:
    """A connection on which a streamed call was just sent."""
    body = json.dumps(chat(**more)).encode()
    async with await anyio.connect_tcp("127.0.0.1", it.port) as stream:
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        await stream.send(head.encode() + body)
        yield stream


@pytest.mark.parametrize("moment", ["before the first byte", "in the middle"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_the_engines_work(
    moment: str, stream: bool, direct: bool
) -> None:
    slow = EngineOptions(models=("sim",), inter_token_s=0.05)
    async with a_gateway(slow, direct=direct) as it:
        if moment == "before the first byte" or not stream:
            it.engine.inject("stall-before-headers")
        async with a_raw_stream(it, max_tokens=2000, stream=stream) as connection:
            if moment == "in the middle" and stream:
                await connection.receive()
                await connection.receive()
            await anyio.sleep(0.1)
        await until(
            lambda: bool(it.engine.requests) and it.engine.requests[0].outcome == "client_left",
            within_s=1,
        )
        await it.settled(1)
        assert not it.engine.scheduler.running
    assert it.log.requests[0]["outcome"] == "client_gone"
    assert it.log.requests[0]["status"] == 499


async def test_a_slow_client_slows_the_engine_and_not_our_memory(direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        it.engine.inject("huge-event=12000000")
        async with a_raw_stream(it, max_tokens=300) as connection:
            await anyio.sleep(0.5)
            received = 0
            with anyio.fail_after(10):
                while True:
                    piece = await connection.receive()
                    received += len(piece)
                    if piece.endswith(b"0\r\n\r\n"):
                        break
        await it.settled()
    assert received > 12_000_000
    assert it.log.requests[0]["outcome"] == "ok"


async def test_a_client_that_reads_nothing_is_let_go(direct: bool) -> None:
    async with a_gateway(direct=direct, server={"write_stall_s": 0.3}) as it:
        it.engine.inject("huge-event=14000000")
        async with a_raw_stream(it, max_tokens=3000):
            await it.settled_calls(20)
        await it.settled()
    assert it.log.requests[0]["outcome"] == "client_gone"


async def test_the_engines_usage_may_be_missing_or_absurd(direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        for kind in ("missing", "null", "negative"):
            it.engine.clear_faults()
            it.engine.inject(f"usage={kind}")
            answer = await post(it, chat())
            assert answer.content.endswith(b"data: [DONE]\n\n")
        await it.settled()
    assert all(line["completion_tokens"] >= 1 for line in it.log.requests)
