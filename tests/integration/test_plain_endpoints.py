"""`/chat` and `/chat/stream`: a message in, a response out."""

from typing import Any

import httpx
import pytest

from gateway.simulator.options import EngineOptions
from tests.support.running import FAST, Running, a_gateway

TGI = EngineOptions(engine="tgi", models=("sim",), inter_token_s=0.002)


async def post(it: Running, path: str, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.post(it.url + path, json=fields)


def responses(body: bytes) -> list[str]:
    events = body.removesuffix(b"data: [DONE]\n\n").split(b"\n\n")
    return [httpx.Response(200, content=e[6:]).json()["response"] for e in events if e]


@pytest.mark.parametrize("engine", [FAST, TGI], ids=["vllm", "tgi"])
async def test_the_pieces_of_a_stream_make_up_the_response(
    engine: EngineOptions, direct: bool
) -> None:
    async with a_gateway(engine, direct=direct) as it:
        whole = await post(it, "/chat", message="Hello", model="m", max_tokens=6)
        stream = await post(it, "/chat/stream", message="Hello", model="m", max_tokens=6)
    assert whole.status_code == 200
    assert set(whole.json()) == {"response"}
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.content.endswith(b"data: [DONE]\n\n")
    assert "".join(responses(stream.content)) == whole.json()["response"]
    assert len(responses(stream.content)) == 6


async def test_without_a_model_the_first_one_answers(direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        answer = await post(it, "/chat", message="Hello", max_tokens=2)
        await it.settled()
    assert answer.status_code == 200
    assert it.log.requests[0]["model"] == "m"


async def test_a_stream_field_does_not_turn_the_answer_into_a_stream(direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        answer = await post(it, "/chat", message="Hello", stream=True, max_tokens=2)
    assert set(answer.json()) == {"response"}


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [({}, "message"), ({"message": 7}, "message"), ({"message": "x", "model": 5}, "model")],
)
async def test_what_is_wrong_with_a_message_is_said(
    path: str, fields: dict[str, Any], param: str, direct: bool
) -> None:
    async with a_gateway(direct=direct) as it:
        answer = await post(it, path, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_a_break_in_the_stream_is_told(direct: bool) -> None:
    async with a_gateway(direct=direct) as it:
        it.engine.inject("reset-after=3")
        answer = await post(it, "/chat/stream", message="Hello", max_tokens=9)
    assert b"[DONE]" not in answer.content
    assert b'"code":"stream_broken"' in answer.content
