import json
from typing import Any

import pytest

from tests.support.simulated import (
    CHAT,
    HELLO,
    an_engine,
    events_of,
    finishes_of,
    json_of,
    text_of,
)
from tests.support.transcripts import Answered

pytestmark = pytest.mark.integration


def native_events(answered: Answered) -> list[Any]:
    return [json.loads(event) for event in answered.events()]


class TestMessages:
    async def test_every_delta_says_the_role_and_no_answer_has_an_id(self) -> None:
        async with an_engine(engine="tgi") as it:
            events = events_of(await it.chat(model="tgi", stream=True))
            whole = json_of(await it.chat())
        assert {event["choices"][0]["delta"]["role"] for event in events} == {"assistant"}
        assert {event["id"] for event in events} | {whole["id"]} == {""}
        assert text_of(events) == whole["choices"][0]["message"]["content"]
        assert finishes_of(events) == ["length"]

    async def test_a_stop_string_is_called_stop_sequence(self) -> None:
        async with an_engine(engine="tgi") as it:
            text = json_of(await it.chat(max_tokens=30))["choices"][0]["message"]["content"]
            answer = json_of(await it.chat(max_tokens=30, stop=[text[10:13]]))
        assert answer["choices"][0]["finish_reason"] == "stop_sequence"

    async def test_a_completion_that_goes_on_has_an_empty_reason(self) -> None:
        async with an_engine(engine="tgi") as it:
            events = events_of(await it.complete(stream=True, max_tokens=2))
        assert [event["choices"][0]["finish_reason"] for event in events] == ["", "length"]

    async def test_a_whole_answer_tells_its_tokens_in_headers(self) -> None:
        async with an_engine(engine="tgi") as it:
            answered = await it.chat(max_tokens=3)
        assert answered.header("x-generated-tokens") == "3"
        prompt = json_of(answered)["usage"]["prompt_tokens"]
        assert answered.header("x-prompt-tokens") == str(prompt)

    async def test_an_answer_is_continued_when_its_beginning_is_the_last_message(self) -> None:
        async with an_engine(engine="tgi") as it:
            whole = json_of(await it.chat(max_tokens=20))["choices"][0]["message"]["content"]
            begun = [*HELLO, {"role": "assistant", "content": whole[:20]}]
            rest = json_of(await it.chat(messages=begun, max_tokens=3))
        assert whole.startswith(whole[:20] + rest["choices"][0]["message"]["content"])

    async def test_there_is_one_choice_whatever_was_asked_for(self) -> None:
        async with an_engine(engine="tgi") as it:
            assert len(json_of(await it.chat(n=3))["choices"]) == 1

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": "sim"},
            {"temperature": -1},
            {"max_tokens": 0},
            {"max_tokens": 100_000},
            {"top_logprobs": 6},
            {"stop": list("abcde")},
        ],
    )
    async def test_what_is_out_of_range_is_a_422_with_a_type(
        self, fields: dict[str, object]
    ) -> None:
        async with an_engine(engine="tgi") as it:
            answered = await it.chat(**fields)
        assert answered.status == 422
        assert json_of(answered)["error_type"] == "validation"

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("{not json", 400),
            ("[1]", 422),
            ({}, 422),
            ({"messages": "Hello"}, 422),
            ({"messages": HELLO, "stop": "a"}, 422),
            ({"messages": HELLO, "logit_bias": {"1": 1}}, 422),
        ],
    )
    async def test_what_it_cannot_read_is_refused_in_plain_text(
        self, body: object, status: int
    ) -> None:
        async with an_engine(engine="tgi") as it:
            answered = await it.post(CHAT, body)
        assert answered.status == status
        assert answered.header("content-type") == "text/plain; charset=utf-8"

    async def test_overload_is_a_429(self) -> None:
        async with an_engine(engine="tgi", max_num_seqs=1, max_queued=0, inter_token_s=0.05) as it:
            it.engine.begin((1,), 1000, ())
            answered = await it.chat()
        assert (answered.status, answered.header("retry-after")) == (429, None)
        assert json_of(answered) == {"error": "Model is overloaded", "error_type": "overloaded"}

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ("error-event-after=1;code=500", "Request failed during generation: "),
            ("error-event-first;code=429", "simulated"),
        ],
    )
    async def test_every_error_in_a_stream_says_422(self, fault: str, said: str) -> None:
        async with an_engine(engine="tgi") as it:
            events = events_of(await it.chat(fault, stream=True))
        assert events[-1]["error"]["http_status_code"] == 422
        assert events[-1]["error"]["message"].startswith(said)


class TestNative:
    async def test_generate_answers_with_the_text_alone(self) -> None:
        async with an_engine(engine="tgi") as it:
            answer = json_of(await it.post("/generate", {"inputs": "Hello"}))
            in_list = json_of(await it.post("/", {"inputs": "Hello"}))
        assert list(answer) == ["generated_text"]
        assert in_list == [answer]

    async def test_details_are_told_when_asked_for(self) -> None:
        parameters = {"details": True, "max_new_tokens": 4}
        async with an_engine(engine="tgi") as it:
            answer = json_of(
                await it.post("/generate", {"inputs": "Hello", "parameters": parameters})
            )
        details = answer["details"]
        assert (details["finish_reason"], details["generated_tokens"]) == ("length", 4)
        assert "".join(token["text"] for token in details["tokens"]) == answer["generated_text"]

    @pytest.mark.parametrize("path", ["/generate_stream", "/"])
    async def test_a_stream_ends_with_the_whole_text_and_without_done(self, path: str) -> None:
        body = {"inputs": "Hello", "stream": True, "parameters": {"max_new_tokens": 4}}
        async with an_engine(engine="tgi") as it:
            answered = await it.post(path, body)
        events = native_events(answered)
        assert [event["index"] for event in events] == [1, 2, 3, 4]
        assert [event["generated_text"] is None for event in events] == [True, True, True, False]
        text = "".join(event["token"]["text"] for event in events)
        assert events[-1]["generated_text"] == text
        assert answered.ending == "complete"

    async def test_a_stop_string_is_called_stop_sequence(self) -> None:
        async with an_engine(engine="tgi") as it:
            text = json_of(await it.post("/generate", {"inputs": "Hello"}))["generated_text"]
            parameters = {"stop": [text[5:8], ""], "details": True}
            answer = json_of(
                await it.post("/generate", {"inputs": "Hello", "parameters": parameters})
            )
        assert answer["details"]["finish_reason"] == "stop_sequence"
        assert answer["generated_text"] == text[: text.index(text[5:8])]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"inputs": ""},
            {"inputs": 5},
            {"inputs": "a", "parameters": "none"},
            {"inputs": "a", "parameters": {"max_new_tokens": "many"}},
            {"inputs": "a", "parameters": {"max_new_tokens": 0}},
            {"inputs": "a", "parameters": {"max_new_tokens": 100_000}},
            {"inputs": "a", "parameters": {"stop": "a"}},
        ],
    )
    async def test_nonsense_is_a_422(self, body: object) -> None:
        async with an_engine(engine="tgi") as it:
            assert (await it.post("/generate", body)).status == 422

    async def test_overload_is_a_429(self) -> None:
        async with an_engine(engine="tgi", max_num_seqs=1, max_queued=0, inter_token_s=0.05) as it:
            it.engine.begin((1,), 1000, ())
            assert (await it.post("/generate", {"inputs": "Hello"})).status == 429

    async def test_an_engine_that_ends_takes_nothing_new(self) -> None:
        async with an_engine(engine="tgi") as it:
            it.engine.is_draining = True
            assert (await it.post("/generate", {"inputs": "Hello"})).status == 503

    async def test_a_failure_in_a_stream_is_an_event_with_a_type(self) -> None:
        """Before, the stream stayed open without a word."""
        async with an_engine(engine="tgi") as it:
            answered = await it.post(
                "/generate_stream", {"inputs": "a"}, x_simulate_fault="error-event-after=1"
            )
        events = native_events(answered)
        assert events[-1]["error_type"] == "generation"
        assert answered.ending == "complete"

    @pytest.mark.parametrize("fault", ["reset-after=1", "abort-after=1"])
    async def test_any_other_fault_breaks_the_connection(self, fault: str) -> None:
        async with an_engine(engine="tgi") as it:
            answered = await it.post("/generate_stream", {"inputs": "a"}, x_simulate_fault=fault)
            assert answered.ending in ("reset", "closed")
            assert not it.engine.is_busy


class TestOtherPaths:
    @pytest.mark.parametrize("path", ["/health", "/", "/ping"])
    async def test_health_is_an_empty_answer_or_an_error(self, path: str) -> None:
        async with an_engine(engine="tgi") as it:
            well = await it.get(path)
            it.engine.is_loading = True
            loading = await it.get(path)
        assert (well.status, well.body) == (200, b"")
        assert json_of(loading) == {"error": "unhealthy", "error_type": "healthcheck"}
        assert loading.status == 503

    async def test_info_tells_the_limits(self) -> None:
        async with an_engine(engine="tgi", max_model_len=500) as it:
            info = json_of(await it.get("/info"))
        assert (info["model_id"], info["max_total_tokens"]) == ("sim", 500)

    async def test_models_are_listed(self) -> None:
        async with an_engine(engine="tgi") as it:
            assert json_of(await it.get("/v1/models"))["data"][0]["id"] == "sim"

    async def test_metrics_tell_queue_and_batch(self) -> None:
        async with an_engine(engine="tgi") as it:
            lines = (await it.get("/metrics")).body.decode().splitlines()
        assert "tgi_queue_size 0" in lines
        assert "tgi_batch_current_size 0" in lines
        assert f"tgi_batch_max_total_tokens {476_000 // 16 * 16}" in lines

    async def test_a_key_guards_only_what_generates_and_is_compared_without_case(self) -> None:
        async with an_engine(engine="tgi", api_key="Sesame") as it:
            assert (await it.chat()).status == 401
            right = await it.post(CHAT, {"messages": HELLO}, authorization="bearer sESAME")
            assert right.status == 200
            assert (await it.get("/info")).status == 200
