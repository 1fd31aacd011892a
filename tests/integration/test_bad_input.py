"""Whatever a client sends: a true status, OpenAI's error body, and a gateway that goes on."""

import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.support.raw_client import Answer, RawClient, a_client, chat, get, post
from tests.support.running import Running, a_gateway

CPU_S = 0.050
MAX_BODY_BYTES = 2_000_000
CHAT = "/v1/chat/completions"
DEEP = 100_000


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["direct", "asgi"])
async def it(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Running]:
    """One gateway for all of these, with a small bound on bodies: nothing of them may last."""
    server = {"max_body_bytes": MAX_BODY_BYTES}
    async with a_gateway(direct=request.param == "direct", server=server) as it:
        async with a_client(it) as client:
            for warm_up in (post(chat()), get("/nothing")):
                await (await client.send(warm_up)).answer()
        yield it
        await it.settled()


@asynccontextmanager
async def little_cpu() -> AsyncIterator[None]:
    """Fails when the process works longer than a bad request may cost, client included."""
    gc.disable()
    try:
        before_s = time.process_time()
        yield
        spent_s = time.process_time() - before_s
    finally:
        gc.enable()
    assert spent_s < CPU_S


async def assert_goes_on(client: RawClient) -> None:
    """The next request on the same connection is answered."""
    answer = await (await client.send(post(chat()))).answer()
    assert answer.status == 200, answer
    assert answer.json()["object"] == "chat.completion"


def assert_told(answer: Answer, status: int, param: str | None = None) -> None:
    """OpenAI's error body, an id, and nothing of our insides."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.error["message"]
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == param, answer.error
    for inside in (b"127.0.0.1", b"Traceback", b"gateway/", b".py", b"msgspec"):
        assert inside not in answer.body


async def refused(
    it: Running, request: bytes, status: int = 400, param: str | None = None
) -> Answer:
    """Send one bad request; its answer, after the connection has proved to be fine."""
    seen = len(it.engine.requests)
    async with a_client(it) as client:
        async with little_cpu():
            answer = await (await client.send(request)).answer()
        assert_told(answer, status, param)
        assert len(it.engine.requests) == seen
        await assert_goes_on(client)
    await it.settled()
    return answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"model":"m",}',
        b'{"model":"m","messages":[]',
        b'{"model" "m"}',
        b"{'model': 'm'}",
        b'{"model":"m","messages":[]}{}',
        b'{"model":"m","messages":[],"temperature":.5}',
        b'{"model":"m","messages":[],"temperature":01}',
        b'{"model":"m","messages":[],"temperature":NaN}',
        b'{"model":"m","messages":[nope]}',
        b"[]",
        b'"model"',
        b"7",
        b"null",
        b"true",
        b"nonsense",
        b"\x00",
        b'{"model":"m","messages":[]}\x00',
        b'{"model":"m","messages":["\x00"]}',
        b'{"model":"m","messages":["\n"]}',
        b'\xef\xbb\xbf{"model":"m","messages":[]}',
        b'{"model":"m","messages":["\xff"]}',
        b'{"model":"m","messages":["\xc3"]}',
        b'{"model":"m","messages":["\xed\xa0\x80"]}',
        b'{"\xc0\xaf":1,"model":"m","messages":[]}',
        '{"model":"m","messages":[]}'.encode("utf-16"),
        b'{"model":"m","messages":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"model":"m","messages":[' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"]}",
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b"[" * DEEP,
        b'{"model":"m","messages":' + b"[" * DEEP,
        b'{"a":' * DEEP,
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_a_body_that_is_no_json_object_is_a_400(body: bytes, it: Running) -> None:
    await refused(it, post(body))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": ["m"]}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": 7}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream": True, "stream_options": "yes"}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options"),
        ({"n": "two"}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": [1]}, "n"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": {}}, "max_completion_tokens"),
    ],
    ids=str,
)
async def test_a_chat_with_a_wrong_field_names_it(
    fields: dict[str, Any], param: str, it: Running
) -> None:
    await refused(it, post(chat(**fields)), param=param)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"model": "m"}, "prompt"),
        ("/v1/completions", {"model": "m", "prompt": None}, "prompt"),
        ("/v1/completions", {"model": "m", "prompt": 7}, "prompt"),
        ("/v1/completions", {"prompt": "Hi"}, "model"),
        ("/v1/embeddings", {"model": "m"}, "input"),
        ("/v1/embeddings", {"model": "m", "input": {}}, "input"),
        ("/v1/embeddings", {"model": "m", "input": True}, "input"),
        ("/v1/embeddings", {"input": "Hi"}, "model"),
        ("/v1/chat/completions", {"model": None, "messages": []}, "model"),
        ("/v1/chat/completions", {"model": "m", "messages": None}, "messages"),
    ],
)
async def test_every_endpoint_names_its_wrong_field(
    path: str, body: dict[str, Any], param: str, it: Running
) -> None:
    await refused(it, post(json.dumps(body).encode(), path), param=param)


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "1e999999999", "0." + "0" * 400 + "1", "9" * 400 + ".5"]
)
async def test_a_number_that_is_not_whole_is_no_number_of_tokens(number: str, it: Running) -> None:
    body = chat(max_tokens="?").replace(b'"?"', number.encode())
    await refused(it, post(body), param="max_tokens")


async def test_what_the_gateway_does_not_read_is_left_to_the_engine(it: Running) -> None:
    body = chat(seed="?", stop="!", temperature=0, max_tokens="#", n=None)
    body = body.replace(b'"?"', b"9" * 400).replace(b"!", rb"\u0000 \ud83d\ude00")
    body = body.replace(b'"#"', b"-" + b"9" * 400)
    async with a_client(it) as client:
        async with little_cpu():
            answer = await (await client.send(post(body))).answer()
        received = it.engine.requests[-1].body
        await assert_goes_on(client)
    assert answer.status == 400
    assert received["seed"] == int("9" * 400)
    assert received["max_tokens"] == -int("9" * 400)
    assert received["stop"] == "\0 😀"


@pytest.mark.parametrize("name", [rb"m\u0000", rb"\uffff" * 999, b"m" * 100_000])
async def test_a_strange_model_name_is_just_not_served(name: bytes, it: Running) -> None:
    await refused(it, post(chat(model="?").replace(b"?", name)), 404, "model")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, rb'{"model":"\ud800","messages":[]}'),
        (CHAT, rb'{"model":"m","messages":[{"role":"user","content":"\udc00"}]}'),
        (CHAT, rb'{"model":"m","messages":[],"\ud800":1}'),
        ("/chat", rb'{"message":"\ud800"}'),
        ("/chat/stream", rb'{"message":"\udc00\ud800"}'),
    ],
)
async def test_half_a_surrogate_pair_is_no_json(path: str, body: bytes, it: Running) -> None:
    await refused(it, post(body, path))


async def test_of_a_repeated_key_the_last_counts_for_the_gateway_and_the_engine(
    it: Running,
) -> None:
    body = (
        b'{"model":"nobody","max_tokens":"x","messages":7,"stream":7,'
        b'"messages":[{"role":"user","content":"Hi"}],"stream":true,"stream":false,'
        b'"mode\\u006c":"m","max_tokens":9,"max_tokens":3}'
    )
    async with a_client(it) as client:
        answer = await (await client.send(post(body))).answer()
        received = it.engine.requests[-1]
    assert answer.status == 200
    assert answer.json()["usage"]["completion_tokens"] == 3
    assert received.body["model"] == "sim"
    assert received.body["max_tokens"] == 3
    assert received.body["stream"] is False
    assert len(received.body) == 4


@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 10**12])
async def test_a_length_over_the_bound_is_refused_before_the_body(length: int, it: Running) -> None:
    async with a_client(it) as client:
        async with little_cpu():
            answer = await (await client.send(post(length=length))).answer()
        assert_told(answer, 413)
        assert answer.error["code"] == "request_too_large"


async def test_after_a_refused_length_and_its_body_the_connection_goes_on(it: Running) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    async with a_client(it) as client:
        answer = await (await client.send(post(length=len(body)))).answer()
        assert_told(answer, 413)
        await client.send(body)
        await assert_goes_on(client)


async def test_a_chunked_body_over_the_bound_is_refused_as_soon_as_it_is(it: Running) -> None:
    chunk = b"%x\r\n%b\r\n" % (500_000, b"x" * 500_000)
    async with a_client(it) as client:
        await client.send(post(transfer_encoding="chunked") + chunk * 5)
        assert_told(await client.answer(), 413)
        await client.send(chunk * 2 + b"0\r\n\r\n")
        await assert_goes_on(client)


async def test_a_chunked_body_within_the_bound_is_read(it: Running) -> None:
    body = chat()
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    async with a_client(it) as client:
        await client.send(
            post(transfer_encoding="chunked") + chunks + b"0\r\nsome: trailer\r\n\r\n"
        )
        assert (await client.answer()).status == 200
        await assert_goes_on(client)


async def test_a_client_that_asks_first_is_told_to_go_on(it: Running) -> None:
    body = chat()
    async with a_client(it) as client:
        await client.send(post(length=len(body), expect="100-continue"))
        assert (await client.answer()).status == 100
        await client.send(body)
        assert (await client.answer()).status == 200
        await assert_goes_on(client)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"length": MAX_BODY_BYTES + 1}, 413),
        ({"length": 10, "content_type": "text/plain"}, 415),
        ({"length": 10, "content_encoding": "gzip"}, 415),
    ],
)
async def test_a_client_that_asks_first_and_is_refused_sends_no_body(
    headers: dict[str, Any], status: int, it: Running
) -> None:
    async with a_client(it) as client:
        answer = await (await client.send(post(expect="100-continue", **headers))).answer()
        assert_told(answer, status)
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat", "/v2/chat/completions", "/tgi", CHAT + "/"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_a_404(path: str, method: str, it: Running) -> None:
    answer = await refused(it, get(path, method=method), 404)
    assert answer.error["code"] == "unknown_url"
    assert f"{method} {path}" in answer.error["message"]


@pytest.mark.parametrize("path", ["/%00", "/%ff", "/%", "//", "/" + "x" * 9_000])
async def test_a_strange_path_is_not_found_either(path: str, it: Running) -> None:
    await refused(it, get(path, method="POST"), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("DELETE", "/v1/embeddings", "POST"),
        ("PATCH", "/chat", "POST"),
        ("OPTIONS", "/v1/completions", "POST"),
        ("GET", "/tgi/m/generate", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/health", "GET"),
        ("DELETE", "/v1/models/m", "GET"),
    ],
)
async def test_a_wrong_method_is_a_405_that_says_the_right_one(
    method: str, path: str, allowed: str, it: Running
) -> None:
    answer = await refused(it, get(path, method=method), 405)
    assert answer.headers["allow"] == allowed
    assert answer.error["code"] == "method_not_allowed"


async def test_head_of_an_endpoint_is_a_405_without_body(it: Running) -> None:
    async with a_client(it) as client:
        await client.send(get(CHAT, method="HEAD"))
        assert (await client.answer(to_head=True)).status == 405
        await assert_goes_on(client)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "json", ""]
)
async def test_another_content_type_is_a_415(content_type: str, it: Running) -> None:
    answer = await refused(it, post(chat(), content_type=content_type), 415)
    assert answer.error["code"] == "unsupported_content_type"


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/problem+json", None],
)
async def test_what_says_that_it_is_json_is_read(content_type: str | None, it: Running) -> None:
    async with a_client(it) as client:
        await client.send(post(chat(), content_type=content_type))
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate, gzip"])
async def test_a_compressed_body_is_a_415(encoding: str, it: Running) -> None:
    await refused(it, post(chat(), content_encoding=encoding), 415)


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/chat/completions HTTP/9.9\r\n\r\n",
        b"POST /v1/chat completions HTTP/1.1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nbad header: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\n: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: \x00\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1x\r\n\r\nx",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: " + b"9" * 30 + b"\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxyz\r\n",
        b"GET /v1/models HTTP/1.1\r\nbad header: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST http://[ HTTP/1.1\r\n\r\n",
        b"POST /a\tb HTTP/1.1\r\n\r\n",
        b"POST /\xff HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400_and_the_end(request_: bytes, it: Running) -> None:
    async with a_client(it) as client:
        async with little_cpu():
            answer = await (await client.send(request_)).answer()
        assert_told(answer, 400)
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()
    async with a_client(it) as client:
        await assert_goes_on(client)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nlong: " + b"x" * 70_000 + b"\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\n" + b"many: x\r\n" * 8_000 + b"\r\n",
        b"GET /v1/models HTTP/1.1\r\n" + b"many: x\r\n" * 8_000 + b"\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nendless: " + b"x" * 700_000,
        b"POST /v1/chat/completions HTTP/1.1\r\n" + b"endless: x\r\n" * 50_000,
    ],
    ids=lambda head: repr(head[:45]),
)
async def test_a_head_over_the_bound_is_a_431_and_the_end(head: bytes, it: Running) -> None:
    async with a_client(it) as client:
        answer = await (await client.send(head)).answer()
        assert_told(answer, 431)
        assert await client.is_closed()


async def test_a_long_head_within_the_bound_is_read(it: Running) -> None:
    async with a_client(it) as client:
        await client.send(post(chat(), long="x" * 60_000))
        assert (await client.answer()).status == 200
        await assert_goes_on(client)


@pytest.mark.parametrize("request_", [post(chat()), get("/v1/models")])
async def test_garbage_after_a_request_does_not_spoil_its_answer(
    request_: bytes, it: Running
) -> None:
    async with a_client(it) as client:
        await client.send(request_ + b"\x00garbage\r\n\r\n")
        assert (await client.answer()).status == 200
        assert await client.is_closed()
        await it.settled()


async def test_http_1_0_is_answered_and_closed(it: Running) -> None:
    async with a_client(it) as client:
        await client.send(post(chat(), version="1.0"))
        answer = await client.answer()
        assert answer.status == 200
        assert answer.json()["object"] == "chat.completion"
        assert await client.is_closed()


@pytest.mark.parametrize("it", ["direct"], indirect=True)  # uvicorn's ASGI cannot
async def test_http_1_0_gets_a_stream_without_chunks(it: Running) -> None:
    async with a_client(it) as client:
        answer = await (await client.send(post(chat(stream=True), version="1.0"))).answer()
    assert "transfer-encoding" not in answer.headers
    assert answer.body.startswith(b"data: {")
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_bad_input_over_http_1_0_is_told(it: Running) -> None:
    async with a_client(it) as client:
        assert_told(await (await client.send(post(b"[]", version="1.0"))).answer(), 400)
        assert await client.is_closed()


@pytest.mark.parametrize(
    "target",
    [
        "http://gateway/v1/chat/completions",
        CHAT + "?api-version=2024-10-21",
        CHAT + "?",
        "/v1/chat%2Fcompletions",
        "/%76%31/chat/completions",
    ],
)
async def test_a_path_is_the_same_however_it_is_written(target: str, it: Running) -> None:
    async with a_client(it) as client:
        assert (await (await client.send(post(chat(), target))).answer()).status == 200
        await assert_goes_on(client)


@pytest.mark.parametrize("query", ["", "?x=1", "?", "?x=/generate"])
async def test_a_query_is_no_part_of_a_model_in_the_path(query: str, it: Running) -> None:
    body = b'{"inputs":"Hi"}'
    async with a_client(it) as client:
        answer = await (await client.send(post(body, "/tgi/nobody/generate" + query))).answer()
        assert answer.status == 404
        assert '"nobody"' in answer.json()["error"]
        await assert_goes_on(client)


async def test_an_offer_to_upgrade_is_passed_over(it: Running) -> None:
    request = post(chat(), connection="upgrade, http2-settings", upgrade="h2c")
    async with a_client(it) as client:
        assert (await (await client.send(request)).answer()).status == 200
        await assert_goes_on(client)


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "<script>"])
async def test_a_strange_request_id_is_replaced(given: str, it: Running) -> None:
    async with a_client(it) as client:
        for request in (post(b"[]", x_request_id=given), post(chat(), x_request_id=given)):
            answer = await (await client.send(request)).answer()
            assert answer.headers["x-request-id"].startswith("req_")


async def test_a_body_that_breaks_off_a_long_refusal_still_shows_the_refusal(it: Running) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)
    async with a_client(it) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.send, post(body))
            assert_told(await client.answer(), 413)
        await assert_goes_on(client)
