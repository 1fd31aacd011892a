import pytest

from gateway.engines.vllm import VllmAdapter
from gateway.simulator.vllm import VllmFace
from tests.support.simulated import (
    CHAT,
    COMPLETIONS,
    HELLO,
    Simulated,
    an_engine,
    events_of,
    json_of,
    text_of,
)

pytestmark = pytest.mark.integration

USAGE = {"stream": True, "stream_options": {"include_usage": True}}


async def load_of(it: Simulated) -> tuple[float | None, float | None]:
    load = VllmAdapter().load((await it.get("/metrics")).body)
    return load.running, load.waiting


class TestAnswers:
    async def test_the_first_chunk_says_the_role_and_the_prompt_when_asked(self) -> None:
        async with an_engine() as it:
            plain, *_ = events_of(await it.chat(stream=True))
            asked, *_ = events_of(await it.chat(stream=True, return_token_ids=True))
        assert plain["prompt_token_ids"] is None
        assert len(asked["prompt_token_ids"]) > 5

    async def test_token_ids_come_with_every_chunk_when_asked(self) -> None:
        async with an_engine(unicode=True) as it:
            events = events_of(await it.chat(stream=True, return_token_ids=True))
            whole = json_of(await it.chat(return_token_ids=True))
        ids = [event["choices"][0]["token_ids"] for event in events[1:]]
        assert [one for [one] in ids] == whole["choices"][0]["token_ids"]

    @pytest.mark.parametrize("kept", range(1, 12))
    async def test_a_stream_resumes_token_for_token_elsewhere(self, kept: int) -> None:
        asked = {"stream": True, "return_token_ids": True}
        async with an_engine(unicode=True) as one, an_engine(unicode=True) as two:
            first, *content = events_of(await one.chat(max_tokens=12, **asked))
            ids = [token for event in content for token in event["choices"][0]["token_ids"]]
            prompt = first["prompt_token_ids"] + ids[:kept]
            _, *rest = events_of(
                await two.chat(
                    max_tokens=12 - kept, kv_transfer_params={"prompt_token_ids": prompt}, **asked
                )
            )
        assert [e["choices"][0]["token_ids"][0] for e in rest] == ids[kept:]

    async def test_an_answer_is_continued_from_its_text_when_asked(self) -> None:
        async with an_engine() as it:
            whole = json_of(await it.chat(max_tokens=20))["choices"][0]["message"]["content"]
            rest = json_of(
                await it.chat(
                    messages=[*HELLO, {"role": "assistant", "content": whole[:30]}],
                    continue_final_message=True,
                    add_generation_prompt=False,
                    max_tokens=3,
                )
            )["choices"][0]["message"]["content"]
        assert whole.startswith(whole[:30] + rest)

    async def test_a_completion_says_its_prompt_and_why_it_stopped_in_its_choice(self) -> None:
        async with an_engine() as it:
            first, second, *_ = events_of(await it.complete(stream=True, return_token_ids=True))
            whole = json_of(await it.complete(return_token_ids=True))
        assert first["choices"][0]["prompt_token_ids"]
        assert second["choices"][0]["prompt_token_ids"] is None
        assert whole["choices"][0]["prompt_token_ids"] == first["choices"][0]["prompt_token_ids"]

    async def test_usage_may_come_with_every_chunk(self) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        async with an_engine() as it:
            events = events_of(await it.chat(stream=True, stream_options=options, max_tokens=3))
        assert [event["usage"]["completion_tokens"] for event in events] == [0, 1, 2, 3, 3]

    async def test_the_fingerprint_comes_with_the_last_chunk(self) -> None:
        async with an_engine() as it:
            without = events_of(await it.chat(stream=True))
            with_usage = events_of(await it.chat(**USAGE))
        for events in (without, with_usage):
            assert [n for n, e in enumerate(events, 1) if "system_fingerprint" in e] == [
                len(events)
            ]

    async def test_a_given_request_id_becomes_part_of_the_id(self) -> None:
        body = {"messages": HELLO, "prompt": "a"}
        async with an_engine() as it:
            chat = json_of(await it.post(CHAT, body, x_request_id="mine"))
            completion = json_of(await it.post(COMPLETIONS, body, x_request_id="mine"))
        assert (chat["id"], completion["id"]) == ("chatcmpl-mine", "cmpl-mine")

    async def test_an_alias_is_answered_with_the_first_name(self) -> None:
        async with an_engine(models=("first", "alias")) as it:
            assert json_of(await it.chat(model="alias"))["model"] == "first"

    async def test_what_was_cached_of_a_prompt_is_told(self) -> None:
        async with an_engine() as it:
            prompt = "Z" * 300
            cached = [
                json_of(await it.complete(prompt=prompt))["usage"]["prompt_tokens_details"][
                    "cached_tokens"
                ]
                for _ in range(2)
            ]
        assert cached[0] == 0
        assert cached[1] > 16

    async def test_text_is_tokenized_and_so_are_messages(self) -> None:
        async with an_engine() as it:
            text = json_of(await it.post("/tokenize", {"prompt": "Hello"}))
            messages = json_of(await it.post("/tokenize", {"messages": HELLO}))
            nothing = await it.post("/tokenize", {})
        assert text["count"] == len(text["tokens"]) == 1
        assert messages["count"] > 2
        assert nothing.status == 400


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "status", "kind", "param"),
        [
            ({"model": "nobody"}, 404, "NotFoundError", "model"),
            ({"temperature": -3}, 400, "BadRequestError", "temperature"),
            ({"temperature": "warm"}, 400, "Bad Request", "body.temperature"),
            ({"messages": "Hello"}, 400, "Bad Request", "body.messages"),
            ({"messages": None}, 400, "Bad Request", "body.messages"),
            ({"tools": []}, 400, "BadRequestError", "tools"),
            ({"max_tokens": 0}, 400, "BadRequestError", "max_tokens"),
            ({"max_completion_tokens": 0}, 400, "BadRequestError", "max_tokens"),
            ({"max_tokens": 9000}, 400, "BadRequestError", "max_tokens"),
            ({"max_completion_tokens": 9000}, 400, "BadRequestError", "max_completion_tokens"),
            ({"messages": [{"content": "Z" * 60_000}]}, 400, "BadRequestError", "input_tokens"),
            ({"stop": ""}, 400, "BadRequestError", None),
            ({"stop": ["a", ""]}, 400, "BadRequestError", None),
            ({"stop": ["a", "b", "c", "d", "e"]}, 400, "Bad Request", "body.stop"),
            ({"n": 0}, 400, "BadRequestError", None),
            ({"n": 2, "temperature": 0}, 400, "BadRequestError", None),
            ({"continue_final_message": True}, 400, "BadRequestError", None),
            (
                {"kv_transfer_params": {"prompt_token_ids": "abc"}},
                400,
                "BadRequestError",
                "kv_transfer_params.prompt_token_ids",
            ),
            ({"logit_bias": {"-7": 1}}, 400, "BadRequestError", "logit_bias"),
            ({"logit_bias": {"some": 1}}, 400, "BadRequestError", "logit_bias"),
        ],
    )
    async def test_what_is_refused_is_named(
        self, fields: dict[str, object], status: int, kind: str, param: str | None
    ) -> None:
        async with an_engine() as it:
            answered = await it.chat(**fields)
        error = json_of(answered)["error"]
        assert (answered.status, error["code"], error["type"]) == (status, status, kind)
        assert param is None or error["param"] == param

    @pytest.mark.parametrize(
        ("body", "param"),
        [("", "body"), ("[1]", "body"), ('{"model":', "body.9")],
    )
    async def test_a_body_that_is_no_object_is_refused_by_its_parser(
        self, body: str, param: str
    ) -> None:
        async with an_engine() as it:
            error = json_of(await it.post(CHAT, body))["error"]
        assert (error["code"], error["type"], error["param"]) == (400, "Bad Request", param)

    async def test_a_body_nested_without_end_is_not_even_parsed(self) -> None:
        async with an_engine() as it:
            answered = await it.post(CHAT, "[" * 200_000)
        assert (answered.status, list(json_of(answered))) == (400, ["detail"])

    @pytest.mark.parametrize(("prompt", "param"), [(None, "prompt"), ("", "prompt"), ([], None)])
    async def test_a_completion_needs_a_prompt(self, prompt: object, param: str | None) -> None:
        async with an_engine() as it:
            answered = await it.complete(prompt=prompt)
        assert (answered.status, json_of(answered)["error"]["param"]) == (400, param)

    async def test_an_answer_that_does_not_fit_is_cut(self) -> None:
        async with an_engine(max_model_len=40) as it:
            usage = json_of(await it.complete(prompt="Z" * 60, max_tokens=40))["usage"]
        assert (usage["prompt_tokens"], usage["total_tokens"]) == (10, 40)

    async def test_only_json_is_taken(self) -> None:
        async with an_engine() as it:
            answered = await it.post(CHAT, {"messages": HELLO}, content_type="text/plain")
        assert answered.status == 400

    async def test_a_stream_may_be_refused_inside_a_200(self) -> None:
        async with an_engine() as it:
            answered = await it.chat(stream=True, logit_bias={"-7": 1})
        (event,) = events_of(answered)
        assert (answered.status, event["error"]["code"]) == (200, 400)

    async def test_a_bias_of_known_tokens_is_taken(self) -> None:
        async with an_engine() as it:
            assert (await it.chat(logit_bias={"5": 1})).status == 200

    async def test_an_engine_that_ends_says_500_and_is_still_well(self) -> None:
        async with an_engine() as it:
            it.engine.is_draining = True
            answered, health = await it.chat(), await it.get("/health")
        assert (answered.status, health.status) == (500, 200)
        assert "cannot schedule new futures" in json_of(answered)["error"]["message"]

    async def test_a_full_queue_is_a_503_without_a_time_to_come_again(self) -> None:
        async with an_engine(max_num_seqs=1, max_queued=0) as it:
            answered = await it.chat(n=2)
        assert (answered.status, answered.header("retry-after")) == (503, None)
        assert json_of(answered)["error"]["type"] == "Service Unavailable"

    async def test_a_key_guards_v1_only(self) -> None:
        async with an_engine(api_key="sesame") as it:
            refused, metrics = await it.chat(), await it.get("/metrics")
            models, tokens = await it.get("/v1/models"), await it.post("/tokenize", {"prompt": ""})
        assert (refused.status, json_of(refused)) == (401, {"error": "Unauthorized"})
        assert (models.status, metrics.status, tokens.status) == (401, 200, 200)


class TestOtherPaths:
    @pytest.mark.parametrize(
        ("path", "status", "answer"),
        [
            ("/version", 200, {"version": "0.32.0"}),
            ("/load", 200, {"server_load": 0}),
            ("/v1/nothing", 404, {"detail": "Not Found"}),
            (CHAT, 405, {"detail": "Method Not Allowed"}),
        ],
    )
    async def test_they_answer_as_vllm_s_do(self, path: str, status: int, answer: object) -> None:
        async with an_engine() as it:
            answered = await it.get(path)
        assert (answered.status, json_of(answered)) == (status, answer)

    async def test_models_tell_their_context(self) -> None:
        async with an_engine(max_model_len=500) as it:
            (model,) = json_of(await it.get("/v1/models"))["data"]
        assert (model["owned_by"], model["max_model_len"]) == ("vllm", 500)

    async def test_metrics_tell_what_runs_and_what_waits(self) -> None:
        async with an_engine(max_num_seqs=1) as it:
            face = VllmFace(it.engine)
            for _ in range(3):
                it.engine.begin((1,), 5, ())
            it.engine.scheduler.start_step()
            load = VllmAdapter().load(face.metrics().encode())
        assert (load.running, load.waiting) == (1, 2)
        assert load.kv_cache_tokens == 476_000 // 16 * 16
        assert load.kv_cache_used_ratio
        assert not load.asleep

    async def test_metrics_tell_that_it_sleeps(self) -> None:
        async with an_engine() as it:
            it.engine.is_asleep = True
            assert VllmAdapter().load((await it.get("/metrics")).body).asleep

    async def test_metrics_count_how_answers_ended(self) -> None:
        async with an_engine() as it:
            await it.chat(max_tokens=3)
            text = (await it.get("/metrics")).body.decode()
        ended = 'finished_reason="length",model_name="sim"} 1.0'
        assert f'vllm:request_success_total{{engine="0",{ended}' in text
        assert "vllm:generation_tokens_total" in text
        assert is_free(text)


def is_free(metrics: str) -> bool:
    """Nothing runs, nothing waits, nothing is held."""
    load = VllmAdapter().load(metrics.encode())
    return (load.running, load.waiting, load.kv_cache_used_ratio) == (0, 0, 0)


async def test_text_of_a_stream_without_usage_is_the_whole_text() -> None:
    async with an_engine() as it:
        whole = json_of(await it.complete(max_tokens=15))["choices"][0]["text"]
        assert text_of(events_of(await it.complete(max_tokens=15, **USAGE))) == whole
        assert await load_of(it) == (0, 0)
