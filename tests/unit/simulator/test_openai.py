import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.simulator import emit
from gateway.simulator.faults import FAULTS
from tests.support.raw_http import OpenAnswer
from tests.support.simulated import (
    CHAT,
    COMPLETIONS,
    HELLO,
    Simulated,
    an_engine,
    events_of,
    finishes_of,
    json_of,
    text_of,
)
from tests.support.transcripts import Answered, Asked, compact_json

pytestmark = pytest.mark.integration

WAYS = ("header", "injected")
JSON = (("content-type", "application/json"),)


async def met(it: Simulated, fault: str, way: str, **fields: Any) -> Answered:
    """A chat that meets a fault, asked for by header or injected beforehand over HTTP."""
    if way == "header":
        return await it.chat(fault, **fields)
    injected = await it.post("/simulate/faults", {"fault": fault, "count": 1})
    assert injected.status == 200
    return await it.chat(**fields)


async def is_well(it: Simulated) -> None:
    """The next request works, and nothing is left of the ones before."""
    assert (await it.chat()).status == 200
    assert it.is_idle()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestAnswers:
    async def test_a_chat_is_answered_whole(self) -> None:
        async with an_engine(engine="openai") as it:
            answer = json_of(await it.chat(model="sim", max_tokens=4))
        assert answer["object"] == "chat.completion"
        (choice,) = answer["choices"]
        assert choice["message"]["role"] == "assistant"
        assert choice["message"]["content"]
        assert choice["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 4
        assert it.engine.requests[-1].outcome == "answered"

    async def test_a_stream_says_what_the_whole_answer_says(self) -> None:
        async with an_engine(engine="openai", unicode=True) as it:
            whole = json_of(await it.chat(max_tokens=40))
            events = events_of(await it.chat(max_tokens=40, stream=True))
        assert text_of(events) == whole["choices"][0]["message"]["content"]
        assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert finishes_of(events) == ["length"]
        assert not any("usage" in event for event in events)

    async def test_usage_comes_last_when_asked_for(self) -> None:
        async with an_engine(engine="openai") as it:
            asked = {"stream": True, "stream_options": {"include_usage": True}}
            *_, last = events_of(await it.chat(max_tokens=3, **asked))
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 3

    async def test_a_completion_goes_on_with_its_prompt(self) -> None:
        async with an_engine(engine="openai") as it:
            answer = json_of(await it.complete(max_tokens=20))
            ids = json_of(await it.post("/tokenize", {"prompt": "Hello world"}))["tokens"]
            same = json_of(await it.complete(prompt=ids, max_tokens=20))
            events = events_of(await it.complete(max_tokens=20, stream=True))
        text = answer["choices"][0]["text"]
        assert same["choices"][0]["text"] == text_of(events) == text
        assert (answer["object"], answer["id"][:5]) == ("text_completion", "cmpl-")

    async def test_several_prompts_get_several_answers(self) -> None:
        async with an_engine(engine="openai") as it:
            one, two = [
                json_of(await it.complete(prompt=p))["choices"][0]["text"] for p in ("A", "B")
            ]
            both = json_of(await it.complete(prompt=["A", "B"]))
        assert [choice["text"] for choice in both["choices"]] == [one, two]
        assert [choice["index"] for choice in both["choices"]] == [0, 1]

    async def test_several_choices_come_side_by_side(self) -> None:
        async with an_engine(engine="openai") as it:
            whole = json_of(await it.chat(n=2, max_tokens=20))
            events = events_of(await it.chat(n=2, max_tokens=20, stream=True))
        said = [choice["message"]["content"] for choice in whole["choices"]]
        assert said == [text_of(events, 0), text_of(events, 1)]
        assert said[0] != said[1]
        assert whole["usage"]["completion_tokens"] == 40

    async def test_tokens_become_text_again(self) -> None:
        async with an_engine(engine="openai") as it:
            tokens = json_of(await it.post("/tokenize", {"prompt": "Größe 🚀"}))["tokens"]
            text = json_of(await it.post("/detokenize", {"tokens": tokens}))["prompt"]
        assert text == "Größe 🚀"

    async def test_a_message_may_be_in_parts_or_empty(self) -> None:
        parts = [{"type": "text", "text": "Hello "}, 5, {"type": "text", "text": "world"}]
        async with an_engine(engine="openai") as it:
            whole = json_of(await it.chat(max_tokens=9))
            same = json_of(
                await it.chat(messages=[{"role": "user", "content": parts}], max_tokens=9)
            )
            empty = await it.chat(messages=[{"role": "user", "content": None}])
        assert same["choices"] == whole["choices"]
        assert empty.status == 200

    async def test_a_stop_string_ends_an_answer(self) -> None:
        async with an_engine(engine="openai") as it:
            text = json_of(await it.chat(max_tokens=30))["choices"][0]["message"]["content"]
            stop = text[10:13]
            answer = json_of(await it.chat(max_tokens=30, stop=stop))
            same = json_of(await it.chat(max_tokens=30, stop=["", stop]))
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["choices"][0]["message"]["content"] == text[: text.index(stop)]
        assert same["choices"] == answer["choices"]

    async def test_models_are_listed(self) -> None:
        async with an_engine(engine="openai", models=("a", "b")) as it:
            models = json_of(await it.get("/v1/models"))
        assert [model["id"] for model in models["data"]] == ["a", "b"]

    async def test_a_loading_engine_is_not_well(self) -> None:
        async with an_engine(engine="openai") as it:
            it.engine.is_loading = True
            assert (await it.get("/health")).status == 503

    async def test_the_requests_it_saw_are_told(self) -> None:
        async with an_engine(engine="openai") as it:
            await it.chat(max_tokens=2)
            (seen,) = json_of(await it.get("/simulate/requests"))["requests"]
        assert seen["body"]["max_tokens"] == 2
        assert (seen["path"], seen["outcome"]) == (CHAT, "answered")


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("", 400),
            ("{not json", 400),
            ("[]", 400),
            ("[" * 200_000, 400),
            ({}, 400),
            ({"messages": "Hello"}, 400),
            ({"messages": HELLO, "model": "nobody"}, 404),
            ({"messages": HELLO, "temperature": 3}, 400),
            ({"messages": HELLO, "stream_options": {"include_usage": True}}, 400),
            ({"messages": HELLO, "max_tokens": 100_000}, 400),
            ({"messages": [{"role": "user", "content": "Z" * 60_000}]}, 400),
            ({"messages": HELLO, "n": "many"}, 400),
            ({"messages": HELLO, "stop": 5}, 400),
            ({"messages": HELLO, "stream_options": "yes", "stream": True}, 400),
        ],
    )
    async def test_nonsense_is_refused_in_words(self, body: object, status: int) -> None:
        async with an_engine(engine="openai") as it:
            answered = await it.post(CHAT, body)
            assert answered.status == status
            assert json_of(answered)["error"]["message"]
            await is_well(it)

    @pytest.mark.parametrize("prompt", [None, 5, {}, [], [[]], [["a"]], [True], ["a", 5]])
    async def test_a_completion_needs_a_prompt(self, prompt: object) -> None:
        async with an_engine(engine="openai") as it:
            assert (await it.post(COMPLETIONS, {"prompt": prompt})).status == 400

    async def test_bytes_that_are_no_text_are_refused(self) -> None:
        async with (
            an_engine(engine="openai") as it,
            await anyio.connect_tcp("127.0.0.1", int(it.engine.url.rpartition(":")[2])) as stream,
        ):
            await stream.send(
                b'POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 4\r\n\r\n"\xff\xff"'
            )
            with anyio.fail_after(5):
                assert (await stream.receive()).startswith(b"HTTP/1.1 400 ")

    async def test_half_a_surrogate_pair_is_no_reason_to_fall(self) -> None:
        async with an_engine(engine="openai") as it:
            body = '{"model": "\\ud800", "messages": []}'
            assert (await it.post(CHAT, body)).status == 404
            said = '{"messages": [{"role": "user", "content": "\\ud800"}]}'
            assert (await it.post(CHAT, said)).status == 200

    @pytest.mark.parametrize("tokens", [None, "abc", ["a"]])
    async def test_only_token_ids_become_text(self, tokens: object) -> None:
        async with an_engine(engine="openai") as it:
            assert (await it.post("/detokenize", {"tokens": tokens})).status == 400

    @pytest.mark.parametrize("method", ["get", "post"])
    async def test_an_unknown_path_is_not_found(self, method: str) -> None:
        async with an_engine(engine="openai") as it:
            sent = it.get("/v1/nothing") if method == "get" else it.post("/v1/nothing", {})
            assert (await sent).status == 404

    async def test_a_key_guards_the_api_and_nothing_else(self) -> None:
        async with an_engine(engine="openai", api_key="sesame") as it:
            assert (await it.chat()).status == 401
            assert (await it.get("/v1/models")).status == 401
            assert (await it.get("/v1/models", authorization="Bearer sesame")).status == 200
            assert (await it.get("/health")).status == 200

    async def test_a_full_queue_refuses(self) -> None:
        async with an_engine(engine="openai", max_num_seqs=1, max_queued=0) as it:
            assert (await it.chat(n=2)).status == 503
            await is_well(it)

    async def test_an_engine_that_ends_takes_nothing_new(self) -> None:
        async with an_engine(engine="openai") as it:
            it.engine.is_draining = True
            assert (await it.chat()).status == 503

    async def test_a_prompt_larger_than_the_kv_cache_is_refused_not_queued_for_ever(self) -> None:
        """Before, it waited for ever, and everybody behind it."""
        async with an_engine(engine="openai", kv_cache_tokens=16) as it:
            assert (await it.complete(prompt="Z" * 100)).status == 400
            assert (await it.complete(prompt="Z")).status == 200


class TestFaultsBeforeAnAnswer:
    @pytest.mark.parametrize("fault", ["refuse", "reset-before-headers", "close-before-headers"])
    async def test_the_connection_ends_without_a_word(self, way: str, fault: str) -> None:
        async with an_engine() as it:
            answered = await met(it, fault, way)
            assert (answered.status_line, answered.ending) == ("", "no-answer")
            assert it.engine.requests[-1].outcome == "fault"
            await is_well(it)

    async def test_half_a_status_line(self, way: str) -> None:
        async with an_engine() as it:
            assert (await met(it, "half-status-line", way)).status_line == "HTTP/1.1 2"
            await is_well(it)

    async def test_a_header_that_is_none(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "bad-header", way)
            assert answered.headers == (("no colon here", ""),)
            await is_well(it)

    async def test_a_head_of_any_size(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "huge-head=100000", way)
            assert len(answered.headers[0][1]) == 100_000
            await is_well(it)

    async def test_silence_before_headers(self, way: str) -> None:
        async with an_engine(patience_s=0.2) as it:
            assert (await met(it, "stall-before-headers", way)).ending == "silent"
            await it.until("client_left")
        async with an_engine() as it:
            await is_well(it)

    @pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 502, 503])
    async def test_any_status_with_the_engine_s_own_body(self, way: str, status: int) -> None:
        async with an_engine() as it:
            answered = await met(it, f"status={status}", way)
            assert answered.status == status
            assert json_of(answered)["error"]["code"] == status
            assert answered.header("retry-after") is None
            await is_well(it)

    @pytest.mark.parametrize("after", ["7", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
    async def test_a_status_may_say_when_to_come_again(self, way: str, after: str) -> None:
        async with an_engine() as it:
            answered = await met(it, f"status=429;retry-after={after}", way)
            assert (answered.status, answered.header("retry-after")) == (429, after)

    async def test_a_page_from_a_proxy_in_between(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "html-error=502", way)
            assert (answered.status, answered.header("content-type")) == (502, "text/html")
            assert answered.body.startswith(b"<html>")

    async def test_an_answer_after_which_the_connection_is_closed(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "close-keepalive", way)
            assert (answered.status, answered.header("connection")) == (200, "close")
            assert json_of(answered)["choices"]


class TestFaultsInAStream:
    async def test_silence_before_content(self, way: str) -> None:
        async with an_engine(patience_s=0.2) as it:
            answered = await met(it, "stall-before-content", way, stream=True)
            assert (answered.status, answered.body, answered.ending) == (200, b"", "silent")
            await it.until("client_left")
            assert not it.engine.is_busy

    async def test_silence_after_so_many_events(self, way: str) -> None:
        async with an_engine(patience_s=0.2) as it:
            answered = await met(it, "stall-after=2", way, stream=True)
            assert len(answered.events()) == 3
            assert answered.ending == "silent"
            await it.until("client_left")

    async def test_a_reset_after_so_many_events(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "reset-after=2", way, stream=True)
            assert answered.ending == "reset"
            assert len(answered.events()) <= 3  # a reset may overtake what was not read yet
            await is_well(it)

    async def test_a_clean_end_after_so_many_events(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "truncate-after=2", way, stream=True)
            events = [json.loads(event) for event in answered.events()]
            assert (answered.ending, len(events)) == ("complete", 3)
            assert finishes_of(events) == []
            await is_well(it)

    async def test_an_engine_that_gives_up_after_so_many_events(self, way: str) -> None:
        async with an_engine() as it:
            events = events_of(await met(it, "abort-after=2", way, stream=True))
            assert finishes_of(events) == ["abort"]
            assert len(events) == 4
            await is_well(it)

    async def test_an_error_event_after_so_many_events(self, way: str) -> None:
        async with an_engine() as it:
            events = events_of(await met(it, "error-event-after=2;code=502", way, stream=True))
            assert events[-1]["error"]["code"] == 502
            assert len(events) == 4
            await is_well(it)

    @pytest.mark.parametrize(("fault", "code"), [("", 500), (";code=400", 400)])
    async def test_an_error_event_in_the_place_of_an_answer(
        self, way: str, fault: str, code: int
    ) -> None:
        async with an_engine() as it:
            answered = await met(it, f"error-event-first{fault}", way, stream=True)
            (event,) = events_of(answered)
            assert (answered.status, event["error"]["code"]) == (200, code)
            await is_well(it)

    async def test_a_cut_at_any_byte(self, way: str) -> None:
        async with an_engine() as it:
            whole = await it.chat(stream=True)
            answered = await met(it, "cut-at-byte=300", way, stream=True)
            assert answered.ending == "reset"
            assert len(answered.body) <= 300
            assert len(whole.body) > 300
            await is_well(it)

    async def test_no_done_at_the_end(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "no-done", way, stream=True)
            events = [json.loads(event) for event in answered.events()]
            assert (finishes_of(events), answered.ending) == (["length"], "complete")

    async def test_a_byte_at_a_time(self, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(emit, "_DRIP_S", 0.0)
        async with an_engine() as it:
            answered = await met(it, "drip", way, stream=True, max_tokens=1)
            assert {len(piece) for piece in answered.pieces} == {1}
            assert len(events_of(answered)) == 2

    async def test_pieces_of_so_many_bytes(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "split=7", way, stream=True)
            assert max(len(piece) for piece in answered.pieces) == 7
            assert finishes_of(events_of(answered)) == ["length"]

    async def test_a_line_that_is_no_json(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "garbage", way, stream=True)
            assert b"{not json" in answered.events()
            assert answered.events()[-1] == b"[DONE]"

    async def test_an_event_of_any_size(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "huge-event=100000", way, stream=True)
            assert max(map(len, answered.events())) > 100_000
            assert finishes_of(events_of(answered)) == ["length"]

    async def test_lines_that_end_with_two_characters(self, way: str) -> None:
        async with an_engine() as it:
            answered = await met(it, "crlf", way, stream=True)
            assert answered.body.endswith(b"data: [DONE]\r\n\r\n")

    @pytest.mark.parametrize("stream", [False, True])
    async def test_an_answer_many_times_slower(self, way: str, stream: bool) -> None:
        async with an_engine(inter_token_s=0.001) as it:
            answered = await met(it, "slow=20", way, stream=stream, max_tokens=3)
            assert (answered.status, answered.ending) == (200, "complete")
            await is_well(it)

    @pytest.mark.parametrize("kind", ["missing", "null", "negative"])
    async def test_usage_that_is_of_no_use(self, way: str, kind: str) -> None:
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        async with an_engine() as it:
            whole = json_of(await met(it, f"usage={kind}", way))
            events = events_of(await met(it, f"usage={kind}", way, **asked))
        if kind == "missing":
            assert "usage" not in whole
            assert not any("usage" in event for event in events)
            return
        if kind == "null":
            assert whole["usage"] is events[-1]["usage"] is None
            return
        assert whole["usage"] == events[-1]["usage"] | {"completion_tokens_details": None}
        assert whole["usage"]["completion_tokens"] < 0

    def test_every_fault_has_a_test_here(self) -> None:
        source = Path(__file__).read_text(encoding="utf-8")
        assert [name for name in FAULTS if f'"{name}' not in source] == []


async def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    async with an_engine() as it:
        answered = await it.chat("explode")
        assert answered.status == 400
        assert "known: refuse, " in json_of(answered)["error"]["message"]


async def test_an_answer_that_is_aborted_says_so() -> None:
    async with an_engine(inter_token_s=0.01, answer_tokens=500) as it:
        body = compact_json({"messages": HELLO, "stream": True})
        stream = await anyio.to_thread.run_sync(
            OpenAnswer, it.engine.url, Asked("POST", CHAT, JSON, body), 5
        )
        for _ in range(3):
            await anyio.to_thread.run_sync(stream.piece)
        it.engine.abort_all()
        events = events_of(await anyio.to_thread.run_sync(stream.finish))
    assert finishes_of(events) == ["abort"]


async def test_a_client_that_leaves_frees_its_request() -> None:
    async with an_engine(inter_token_s=0.01, answer_tokens=500) as it:
        body = compact_json({"messages": HELLO, "stream": True})
        stream = await anyio.to_thread.run_sync(
            OpenAnswer, it.engine.url, Asked("POST", CHAT, JSON, body), 5
        )
        await anyio.to_thread.run_sync(stream.piece)
        stream.close()
        await it.until("client_left")
        assert it.is_idle()
        assert it.engine.counts.finished == {}
