import anyio
import pytest

from tests.support.raw_http import OpenAnswer
from tests.support.simulated import (
    CHAT,
    HELLO,
    an_engine,
    events_of,
    finishes_of,
    json_of,
    text_of,
)
from tests.support.transcripts import Asked, compact_json

pytestmark = pytest.mark.integration

USAGE = {"stream": True, "stream_options": {"include_usage": True}}


async def test_the_end_of_a_chat_is_a_chunk_of_its_own() -> None:
    async with an_engine(engine="llamacpp") as it:
        events = events_of(await it.chat(stream=True))
        whole = json_of(await it.chat())
    first, *content, last = events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert last["choices"][0] == {"finish_reason": "length", "index": 0, "delta": {}}
    assert all(event["choices"][0]["delta"]["content"] for event in content)
    assert text_of(events) == whole["choices"][0]["message"]["content"]


async def test_the_usage_of_a_chat_is_a_chunk_of_its_own() -> None:
    async with an_engine(engine="llamacpp") as it:
        *_, last = events_of(await it.chat(**USAGE))
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


async def test_the_usage_of_a_completion_comes_with_its_end() -> None:
    async with an_engine(engine="llamacpp") as it:
        *_, last = events_of(await it.complete(**USAGE))
        *_, without = events_of(await it.complete(stream=True))
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["usage"]["completion_tokens"] == 6
    assert "usage" not in without


async def test_a_token_that_shows_nothing_is_not_sent() -> None:
    async with an_engine(engine="llamacpp", unicode=True) as it:
        events = events_of(await it.chat(stream=True, max_tokens=60))
    _, *content, _ = events
    assert all(event["choices"][0]["delta"]["content"] for event in content)
    assert len(content) < 60


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "nobody"},
        {"temperature": -3},
        {"stream_options": {"include_usage": True}},
        {"stop": list("abcdef")},
        {"stop": {"a": 1}},
        {"stop": ""},
    ],
)
async def test_it_takes_what_others_refuse(fields: dict[str, object]) -> None:
    async with an_engine(engine="llamacpp") as it:
        answered = await it.chat(**fields)
    assert (answered.status, json_of(answered)["model"]) == (200, "sim")


@pytest.mark.parametrize(("asked", "told"), [(0, 1), (2, 2), (-1, 6), (None, 6), (100_000, 47)])
async def test_an_answer_is_cut_to_the_room_there_is(asked: int | None, told: int) -> None:
    async with an_engine(engine="llamacpp", max_model_len=48) as it:
        answer = json_of(await it.complete(prompt="Hello", max_tokens=asked))
    assert answer["usage"]["completion_tokens"] == told
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("{not json", 500, "server_error"),
        ("", 500, "server_error"),
        ("[1]", 400, "invalid_request_error"),
        ({}, 400, "invalid_request_error"),
        ({"messages": "Hello"}, 400, "invalid_request_error"),
        ({"messages": HELLO, "temperature": "warm"}, 400, "invalid_request_error"),
        (
            {"messages": [{"role": "user", "content": "Z" * 60_000}]},
            400,
            "exceed_context_size_error",
        ),
    ],
)
async def test_what_is_refused_has_a_type(body: object, status: int, kind: str) -> None:
    async with an_engine(engine="llamacpp") as it:
        answered = await it.post(CHAT, body)
    error = json_of(answered)["error"]
    assert (answered.status, error["code"], error["type"]) == (status, status, kind)


async def test_embeddings_are_not_supported() -> None:
    async with an_engine(engine="llamacpp") as it:
        answered = await it.post("/v1/embeddings", {"input": "Hello"})
    assert (answered.status, json_of(answered)["error"]["type"]) == (501, "not_supported_error")


@pytest.mark.parametrize("path", ["/v1/nothing", CHAT])
async def test_unknown_paths_and_methods_are_not_found(path: str) -> None:
    async with an_engine(engine="llamacpp") as it:
        answered = await it.get(path)
    assert json_of(answered) == {
        "error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}
    }


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
async def test_health_is_said_in_json(path: str) -> None:
    async with an_engine(engine="llamacpp") as it:
        well = await it.get(path)
        it.engine.is_loading = True
        loading = await it.get(path)
    assert (well.status, json_of(well)) == (200, {"status": "ok"})
    assert (loading.status, json_of(loading)["error"]["message"]) == (503, "Loading model")


async def test_slots_are_told_and_that_none_is_free() -> None:
    async with an_engine(engine="llamacpp", max_num_seqs=2, inter_token_s=0.05) as it:
        props = json_of(await it.get("/props"))
        idle = json_of(await it.get("/slots?fail_on_no_slot=1"))
        for _ in range(3):
            it.engine.begin((1,), 1000, ())
        with anyio.fail_after(5):
            while len(it.engine.scheduler.running) < 2:
                await anyio.lowlevel.checkpoint()
        busy = json_of(await it.get("/slots"))
        none_free = await it.get("/slots?fail_on_no_slot=1")
        metrics = (await it.get("/metrics")).body.decode()
    assert props["total_slots"] == 2
    assert [slot["is_processing"] for slot in idle] == [False, False]
    assert [slot["is_processing"] for slot in busy] == [True, True]
    assert none_free.status == 503
    assert "\nllamacpp:requests_processing 2\n" in metrics
    assert "\nllamacpp:requests_deferred 1\n" in metrics


async def test_a_key_guards_all_but_health_and_models() -> None:
    async with an_engine(engine="llamacpp", api_key="sesame") as it:
        assert (await it.get("/health")).status == 200
        models = await it.get("/v1/models")
        assert json_of(models)["data"][0]["owned_by"] == "llamacpp"
        refused = await it.post("/tokenize", {"content": "a"})
    assert (refused.status, json_of(refused)["error"]["type"]) == (401, "authentication_error")


async def test_text_becomes_tokens_and_text_again() -> None:
    async with an_engine(engine="llamacpp") as it:
        tokens = json_of(await it.post("/tokenize", {"content": "Hello"}))["tokens"]
        assert json_of(await it.post("/detokenize", {"tokens": tokens})) == {"content": "Hello"}


async def test_an_answer_is_continued_when_its_beginning_is_the_last_message() -> None:
    async with an_engine(engine="llamacpp") as it:
        whole = json_of(await it.chat(max_tokens=20))["choices"][0]["message"]["content"]
        begun = [*HELLO, {"role": "assistant", "content": whole[:20]}]
        rest = json_of(await it.chat(messages=begun, max_tokens=3))
        empty = await it.chat(messages=[])
    assert whole.startswith(whole[:20] + rest["choices"][0]["message"]["content"])
    assert empty.status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_dies_says_nothing(stream: bool) -> None:
    async with an_engine(engine="llamacpp", inter_token_s=0.01, answer_tokens=500) as it:
        body = compact_json({"messages": HELLO, "stream": stream})
        answer = await anyio.to_thread.run_sync(
            OpenAnswer, it.engine.url, Asked("POST", CHAT, (), body), 5
        )
        if stream:
            await anyio.to_thread.run_sync(answer.piece)
        with anyio.fail_after(5):
            while not it.engine.scheduler.running:
                await anyio.lowlevel.checkpoint()
        it.engine.abort_all()
        answered = await anyio.to_thread.run_sync(answer.finish)
    assert answered.ending in ("closed", "no-answer")
    assert b"abort" not in answered.body
    assert finishes_of([]) == []
