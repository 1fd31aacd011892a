"""What the gateway believes about its engines, held against the real ones."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.engines.conftest import StartAnother, need
from tests.engines.scenarios import LLAMACPP, STOP, VLLM, chat, completion, get, too_long
from tests.support.engine_home import vllm_home
from tests.support.ports import free_port
from tests.support.raw_http import PATIENCE_S, OpenAnswer, ask
from tests.support.real_engines import RealEngine, TinyModels, running, start_vllm
from tests.support.transcripts import Answered, Asked

A_LONG_STREAM = chat(max_tokens=900, stream=True)
A_LONG_STREAM_WITH_USAGE = chat(max_tokens=900, stream=True, stream_options={"include_usage": True})
A_VERY_LONG_STREAM = chat(max_tokens=8000, stream=True)
SOON_S = 1.0


def events_of(answered: Answered) -> list[Any]:
    """The decoded events of a stream that ended as it should."""
    assert answered.ending == "complete"
    *events, last = answered.events()
    assert last == b"[DONE]"
    return [json.loads(event) for event in events]


def text_of(events: list[Any]) -> str:
    return "".join(
        choice["delta"].get("content") or "" for event in events for choice in event["choices"]
    )


def ended_well(last: Any, usage: Any) -> bool:
    """All of the 900 tokens asked for came."""
    is_whole: bool = usage["usage"]["completion_tokens"] == 900
    return is_whole and last["choices"][0]["finish_reason"] == "length"


def gauge(engine: RealEngine, name: str) -> float:
    lines = ask(engine.url, get("/metrics")).body.decode().splitlines()
    values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
    assert values, f"{engine.name} does not report {name}"
    return sum(values)


def seconds_until(reached: Callable[[], bool], limit_s: float) -> float:
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < limit_s, f"not so within {limit_s:g} s"
        time.sleep(0.02)
    return time.monotonic() - started


@contextmanager
def frozen(engine: RealEngine) -> Iterator[None]:
    """It computes nothing meanwhile; its server answers, and has time to."""
    engine.freeze()
    try:
        yield
    finally:
        engine.compute()


def step_until(engine: RealEngine, name: str, wanted: float) -> None:
    """Let a frozen engine compute a few tokens at a time, until a gauge is at least this."""

    def stepped() -> bool:
        engine.compute()
        time.sleep(0.02)
        engine.freeze()
        return gauge(engine, name) >= wanted

    seconds_until(stepped, limit_s=20)


def accepts_connections(engine: RealEngine) -> bool:
    where = urlsplit(engine.url)
    try:
        socket.create_connection((where.hostname, where.port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def streams(
    engine: RealEngine,
    asked: Asked,
    count: int,
    *,
    read_pieces: int = 10,
    patience_s: float = PATIENCE_S,
) -> Iterator[list[OpenAnswer]]:
    """That many streams under way; whatever is still open at the end is left."""
    with ExitStack() as stack:
        answers = [
            stack.enter_context(closing(OpenAnswer(engine.url, asked, patience_s)))
            for _ in range(count)
        ]
        for answer in answers:
            for _ in range(read_pieces):
                answer.piece()
        yield answers


@dataclass(frozen=True, slots=True)
class Mortals:
    """Engines of which each may be killed by one test. Started together: that saves a minute."""

    to_terminate: RealEngine
    to_lose_its_core: RealEngine
    to_fill_and_drain: RealEngine


@pytest.fixture(scope="module")
def mortals(tiny_models: TinyModels) -> Iterator[Mortals]:
    need(vllm_home())
    limits = ("--max-num-seqs", "1", "--max-num-queued-reqs", "2", "--shutdown-timeout", "20")
    start = partial(start_vllm, model_dir=tiny_models.hugging_face, served_name="tiny")
    engines = start(free_port()), start(free_port()), start(free_port(), extra_args=limits)
    with running(*engines):
        yield Mortals(*engines)


class TestVllmAnswers:
    def test_both_engines_generate_the_same_text(
        self, two_vllms: tuple[RealEngine, RealEngine]
    ) -> None:
        texts = {
            json.loads(ask(engine.url, chat(max_tokens=200)).body)["choices"][0]["message"][
                "content"
            ]
            for engine in two_vllms
        }
        assert len(texts) == 1
        assert len(set(texts.pop().split())) > 40

    def test_a_stream_says_its_role_first_and_its_end_last(self, a_vllm: RealEngine) -> None:
        role, *content = events_of(ask(a_vllm.url, VLLM["chat-stream"]))
        assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert [event["choices"][0]["finish_reason"] for event in content] == [None] * 5 + [
            "length"
        ]

    def test_usage_comes_in_a_last_chunk_without_choices_when_asked_for(
        self, a_vllm: RealEngine
    ) -> None:
        *content, usage = events_of(ask(a_vllm.url, VLLM["chat-stream-usage"]))
        assert usage["choices"] == []
        assert usage["usage"]["completion_tokens"] == 6
        assert not any(event.get("usage") for event in content)

    def test_usage_is_not_sent_when_not_asked_for(self, a_vllm: RealEngine) -> None:
        events = events_of(ask(a_vllm.url, VLLM["chat-stream"]))
        assert not any(event.get("usage") for event in events)

    def test_an_alias_is_answered_with_the_first_served_name(self, a_vllm: RealEngine) -> None:
        assert json.loads(ask(a_vllm.url, VLLM["chat-by-alias"]).body)["model"] == "tiny"

    def test_a_stop_string_is_withheld_and_named(self, a_vllm: RealEngine) -> None:
        events = events_of(ask(a_vllm.url, VLLM["chat-stream-stop-string"]))
        assert STOP[:2] not in text_of(events)[-2:]
        assert events[-2]["choices"][0]["finish_reason"] == "stop"
        assert events[-2]["choices"][0]["stop_reason"] == STOP

    def test_a_character_split_over_tokens_arrives_whole(self, a_vllm: RealEngine) -> None:
        events = events_of(ask(a_vllm.url, VLLM["chat-stream-split-characters-token-ids"]))
        deltas = [event["choices"][0]["delta"].get("content") for event in events[1:-1]]
        assert "" in deltas  # tokens whose bytes were held back
        assert "\N{GRINNING FACE}" in deltas
        assert "\N{REPLACEMENT CHARACTER}" not in text_of(events)

    def test_a_given_request_id_becomes_part_of_the_id(self, a_vllm: RealEngine) -> None:
        body = json.loads(ask(a_vllm.url, VLLM["chat-with-request-id"]).body)
        assert body["id"] == "chatcmpl-given-by-client"

    @pytest.mark.parametrize("kept", range(1, 12))
    def test_a_stream_resumes_token_for_token_from_prompt_token_ids(
        self, two_vllms: tuple[RealEngine, RealEngine], kept: int
    ) -> None:
        whole = chat(
            max_tokens=12,
            stream=True,
            return_token_ids=True,
            stream_options={"include_usage": True},
        )
        first, *content = events_of(ask(two_vllms[0].url, whole))
        prompt = first["prompt_token_ids"]
        generated = [token for event in content[:-1] for token in event["choices"][0]["token_ids"]]
        assert len(generated) == 12

        resumed = chat(
            max_tokens=12 - kept,
            stream=True,
            return_token_ids=True,
            kv_transfer_params={"prompt_token_ids": prompt + generated[:kept]},
        )
        _, *continued = events_of(ask(two_vllms[1].url, resumed))
        tokens = [token for event in continued for token in event["choices"][0]["token_ids"]]
        assert tokens == generated[kept:]


class TestVllmRefusals:
    @pytest.mark.parametrize(
        ("name", "status", "kind"),
        [
            ("unknown-model", 404, "NotFoundError"),
            ("prompt-too-long", 400, "BadRequestError"),
            ("prompt-too-long-stream", 400, "BadRequestError"),
            ("too-many-tokens-asked", 400, "BadRequestError"),
            ("bad-temperature", 400, "BadRequestError"),
            ("bad-logit-bias", 400, "BadRequestError"),
            ("malformed-json", 400, "Bad Request"),
            ("no-messages", 400, "Bad Request"),
            ("stream-options-without-stream", 400, "BadRequestError"),
            ("chat-tools", 400, "BadRequestError"),
            ("zero-tokens", 400, "BadRequestError"),
            ("disabled-route", 403, "PermissionDeniedError"),
        ],
    )
    def test_errors_are_objects_with_the_status_as_a_number(
        self, a_vllm: RealEngine, name: str, status: int, kind: str
    ) -> None:
        answered = ask(a_vllm.url, VLLM[name])
        error = json.loads(answered.body)["error"]
        assert (answered.status, error["code"], error["type"]) == (status, status, kind)

    def test_a_prompt_too_long_names_input_tokens_but_no_code(self, a_vllm: RealEngine) -> None:
        error = json.loads(ask(a_vllm.url, VLLM["prompt-too-long"]).body)["error"]
        assert error["param"] == "input_tokens"
        assert "maximum context length is 1024" in error["message"]

    @pytest.mark.parametrize("name", ["bad-logit-bias-stream", "completions-bad-logit-bias-stream"])
    def test_a_stream_may_refuse_inside_a_200(self, a_vllm: RealEngine, name: str) -> None:
        answered = ask(a_vllm.url, VLLM[name])
        assert answered.status == 200
        (refusal,) = events_of(answered)
        assert refusal["error"]["code"] == 400
        assert refusal["error"]["param"] == "logit_bias"

    def test_unknown_paths_are_not_answered_in_openai_form(self, a_vllm: RealEngine) -> None:
        answered = ask(a_vllm.url, VLLM["unknown-path"])
        assert (answered.status, json.loads(answered.body)) == (404, {"detail": "Not Found"})


class TestVllmLoad:
    def test_a_client_that_leaves_frees_its_request_within_a_second(
        self, a_vllm: RealEngine
    ) -> None:
        """As soon as it computes again, of 1,800 tokens hardly one is computed."""
        with frozen(a_vllm):
            with streams(a_vllm, A_LONG_STREAM, count=2, read_pieces=0):
                step_until(a_vllm, "vllm:num_requests_running", 2)
                computed = gauge(a_vllm, "vllm:generation_tokens_total")
            time.sleep(SOON_S)
        seconds_until(lambda: gauge(a_vllm, "vllm:num_requests_running") == 0, limit_s=20)
        assert gauge(a_vllm, "vllm:generation_tokens_total") - computed < 100

    def test_capacity_is_published(self, a_vllm: RealEngine) -> None:
        lines = ask(a_vllm.url, get("/metrics")).body.decode().splitlines()
        (info,) = (line for line in lines if line.startswith("vllm:cache_config_info{"))
        for label in ("block_size", "num_gpu_blocks", "kv_cache_size_tokens"):
            assert f'{label}="' in info


class TestVllmDies:
    def test_sigterm_never_lets_a_stream_end_well(self, mortals: Mortals) -> None:
        """The default shutdown kills the engine core right after asking it to end.

        What comes of it is a race: its last word is "abort", dressed as success; or the HTTP
        server notices the dead core first and says so in an error event; or it keeps the
        connection open and never says anything again; or the answer was whole before.
        """
        engine = mortals.to_terminate
        with (
            closing(OpenAnswer(engine.url, chat(max_tokens=900), patience_s=5)) as waiting,
            streams(engine, A_LONG_STREAM_WITH_USAGE, count=1, patience_s=5) as (stream,),
        ):
            engine.terminate()
            streamed, whole = stream.finish(), waiting.finish()
            still_accepts = accepts_connections(engine)
        if streamed.ending == "silent":
            assert not still_accepts
        else:
            *_, last, usage = events_of(streamed)
            if "error" not in usage:
                assert ended_well(last, usage) or last["choices"][0]["finish_reason"] == "abort"
        if whole.ending != "silent" and whole.status != 500:
            assert whole.status == 200
            answer = json.loads(whole.body)
            assert ended_well(answer, answer) or answer["choices"][0]["finish_reason"] == "abort"

    def test_a_dead_engine_core_is_an_error_event_then_a_dead_server(
        self, mortals: Mortals
    ) -> None:
        engine = mortals.to_lose_its_core
        with frozen(engine), streams(engine, A_LONG_STREAM, count=1, read_pieces=0) as (stream,):
            step_until(engine, "vllm:generation_tokens_total", 1)
            engine.kill_engine_core()
            events = events_of(stream.finish())
        assert events[-1]["error"]["code"] == 500
        engine.wait_until_gone(10)

    def test_an_engine_with_limits_says_when_it_is_full_but_not_when_it_drains(
        self, mortals: Mortals
    ) -> None:
        """The limit on queued requests counts running ones too, whatever its name says."""
        engine = mortals.to_fill_and_drain
        with ExitStack() as open_streams:
            with frozen(engine):
                (stream,) = open_streams.enter_context(
                    streams(engine, A_LONG_STREAM, count=1, read_pieces=0)
                )
                with streams(engine, A_LONG_STREAM, count=1, read_pieces=0):
                    step_until(engine, "vllm:num_requests_waiting{", 1)
                    refused = ask(engine.url, chat())
            assert refused.status == 503
            assert json.loads(refused.body)["error"]["code"] == 503
            assert refused.header("retry-after") is None

            engine.terminate()
            time.sleep(0.3)
            assert ask(engine.url, get("/health")).status == 200
            refused = ask(engine.url, chat())
            assert refused.status == 500
            assert "cannot schedule new futures" in refused.body.decode()
            assert events_of(stream.finish())[-1]["choices"][0]["finish_reason"] == "length"


class TestLlamaServer:
    def test_it_generates_what_vllm_generates(
        self, llama_server: RealEngine, a_vllm: RealEngine
    ) -> None:
        """One model, one greedy text: the two files hold the same weights."""
        asked = completion(max_tokens=60)
        texts = {
            json.loads(ask(engine.url, asked).body)["choices"][0]["text"]
            for engine in (llama_server, a_vllm)
        }
        assert len(texts) == 1

    def test_several_events_may_arrive_in_one_chunk(self, llama_server: RealEngine) -> None:
        answered = ask(llama_server.url, LLAMACPP["chat-stream"])
        assert len(answered.events()) > len(answered.pieces)
        assert events_of(answered)[-1]["choices"][0]["finish_reason"] == "length"

    def test_any_model_name_is_accepted_and_answered_with_the_alias(
        self, llama_server: RealEngine
    ) -> None:
        answered = ask(llama_server.url, LLAMACPP["unknown-model"])
        assert (answered.status, json.loads(answered.body)["model"]) == (200, "tiny")

    @pytest.mark.parametrize("name", ["prompt-too-long", "prompt-too-long-stream"])
    def test_a_prompt_too_long_is_a_typed_400(self, llama_server: RealEngine, name: str) -> None:
        answered = ask(llama_server.url, LLAMACPP[name])
        error = json.loads(answered.body)["error"]
        assert (answered.status, error["code"]) == (400, 400)
        assert error["type"] == "exceed_context_size_error"

    def test_malformed_json_is_blamed_on_the_server(self, llama_server: RealEngine) -> None:
        assert ask(llama_server.url, LLAMACPP["malformed-json"]).status == 500

    def test_load_is_published(self, llama_server: RealEngine) -> None:
        def processing(wanted: int) -> bool:
            return gauge(llama_server, "llamacpp:requests_processing") == wanted

        with (
            streams(llama_server, A_VERY_LONG_STREAM, count=2),
            streams(llama_server, A_VERY_LONG_STREAM, count=1, read_pieces=0),
        ):
            seconds_until(lambda: gauge(llama_server, "llamacpp:requests_deferred") == 1, limit_s=2)
            assert processing(2)
            assert ask(llama_server.url, get("/slots?fail_on_no_slot=1")).status == 503
        assert seconds_until(lambda: processing(0), limit_s=5) < SOON_S

    def test_sigterm_cuts_a_stream_without_a_word_at_the_next_ping(
        self, start_another_llama_server: StartAnother
    ) -> None:
        """The stream falls silent at once; it is closed when the next ping cannot be written.

        Pings come every 30 s unless told otherwise. Rarely, pings are written for ever.
        """
        engine = start_another_llama_server(("--sse-ping-interval", "2"))
        with streams(engine, A_VERY_LONG_STREAM, count=1) as (stream,):
            engine.terminate()
            answered = stream.finish(within_s=20)
        assert answered.ending in ("closed", "reset", "unfinished")
        assert b"[DONE]" not in answered.body
        assert b'"finish_reason":"' not in answered.body


def test_prompts_of_a_chosen_length_can_be_made(llama_server: RealEngine) -> None:
    asked = Asked("POST", "/tokenize", body=json.dumps({"content": too_long(123)}))
    assert len(json.loads(ask(llama_server.url, asked).body)["tokens"]) == 123
