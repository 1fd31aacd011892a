import json
from typing import Any

import msgspec
import pytest

from gateway.engines.adapter import Served, Shown
from gateway.engines.tgi import TgiAdapter
from gateway.errors import EngineFault, EngineOverloaded, EngineRefused, GatewayError
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.usage import Usage

TGI = TgiAdapter()
SHOWN = Shown("public", "chatcmpl-1", 7)


def ask(operation: Operation = Operation.CHAT, **fields: Any) -> Ask:
    content: dict[Operation, dict[str, Any]] = {
        Operation.CHAT: {"messages": []},
        Operation.COMPLETION: {"prompt": "x"},
        Operation.GENERATE: {"inputs": "x"},
    }
    return read_ask(msgspec.json.encode(content[operation] | fields), operation, model="public")


def headers(**given: str) -> Any:
    return lambda name: given.get(name.decode().replace("-", "_"), "").encode() or None


def test_an_answers_id_model_and_finish_reason_become_openais() -> None:
    body = json.dumps(
        {
            "object": "chat.completion",
            "id": "",
            "model": "meta-llama/Llama",
            "choices": [
                {"index": 0, "message": {"content": "a"}, "finish_reason": "stop_sequence"},
                {"index": 1, "message": {"content": "b"}, "finish_reason": "eos_token"},
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
    ).encode()
    answer = TGI.answer(ask(), body, headers(), SHOWN)
    shown = json.loads(answer.body)
    assert shown["id"] == "chatcmpl-1"
    assert shown["model"] == "public"
    assert [choice["finish_reason"] for choice in shown["choices"]] == ["stop", "stop"]
    assert answer.finish_reason == "stop"
    assert answer.usage == Usage(3, 2)


@pytest.mark.parametrize(
    ("status", "body", "kind", "seen"),
    [
        (424, {"error": "x", "error_type": "generation"}, EngineFault, 502),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, EngineOverloaded, 503),
        (422, {"error": "stop: invalid", "error_type": "validation"}, EngineRefused, 400),
        (500, {"error": "Incomplete", "error_type": "incomplete_generation"}, EngineFault, 502),
    ],
)
def test_refusals(status: int, body: object, kind: type[GatewayError], seen: int) -> None:
    failure = TGI.refusal(status, json.dumps(body).encode(), None)
    assert type(failure) is kind
    assert failure.status == seen


def test_a_context_that_is_too_long_has_openais_code() -> None:
    text = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 1"
    failure = TGI.refusal(
        422, json.dumps({"error": text, "error_type": "validation"}).encode(), None
    )
    assert (failure.status, failure.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "Model is overloaded", "http_status_code": 422}, EngineOverloaded),
        (
            {"message": "Request failed during generation: oom", "http_status_code": 422},
            EngineFault,
        ),
        ({"message": "Incomplete generation stream", "http_status_code": 422}, EngineFault),
        ({"message": "temperature must be positive", "http_status_code": 422}, EngineRefused),
        ({"message": "boom", "http_status_code": 500}, EngineFault),
        ("boom", EngineRefused),
    ],
)
def test_error_events_are_told_apart_by_their_words(
    error: object, kind: type[GatewayError]
) -> None:
    assert type(TGI.error_event(json.dumps(error).encode())) is kind


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("validation", EngineRefused), ("overloaded", EngineOverloaded), ("generation", EngineFault)],
)
def test_error_events_of_its_own_api(kind: str, wanted: type[GatewayError]) -> None:
    event = json.dumps({"error": "x", "error_type": kind}).encode()
    assert type(TGI.native_error(event)) is wanted


def test_tokens_of_a_whole_generation_are_counted_from_the_headers() -> None:
    body = b'{"generated_text": "a", "details": {"finish_reason": "length"}}'
    counted = headers(x_prompt_tokens="5", x_generated_tokens="2")
    answer = TGI.answer(ask(Operation.GENERATE), body, counted, SHOWN)
    assert answer.body == body
    assert answer.usage == Usage(5, 2)
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("counts", [{}, {"x_prompt_tokens": "5", "x_generated_tokens": "-"}])
def test_tokens_that_are_not_told_are_unknown(counts: dict[str, str]) -> None:
    answer = TGI.answer(
        ask(Operation.GENERATE), b'{"generated_text": "a"}', headers(**counts), SHOWN
    )
    assert answer.usage is None
    assert answer.finish_reason is None


def test_a_generation_that_cannot_be_read_is_a_fault() -> None:
    with pytest.raises(EngineFault):
        TGI.answer(ask(Operation.GENERATE), b"[]", headers(), SHOWN)


def test_figures_are_read_from_its_metrics() -> None:
    text = (
        b"tgi_queue_size 3\ntgi_batch_current_size 8\n"
        b"tgi_batch_current_max_tokens 500\ntgi_batch_max_total_tokens 2000\n"
    )
    load = TGI.load(text)
    assert (load.running, load.waiting) == (8, 3)
    assert load.kv_cache_used_ratio == 0.25
    assert load.kv_cache_tokens == 2000


@pytest.mark.parametrize(("adapter", "model"), [(None, "tgi"), ("sql", "sql")])
def test_any_other_model_than_tgi_is_an_adapter(adapter: str | None, model: str) -> None:
    request = TgiAdapter().prepare(ask(), Served("m", None, adapter), "id")
    assert json.loads(request.body)["model"] == model


@pytest.mark.parametrize("stream", [False, True])
def test_its_own_api_takes_an_adapter_among_the_parameters(stream: bool) -> None:
    given = ask(Operation.GENERATE, stream=stream, parameters={"top_k": 3})
    request = TgiAdapter().prepare(given, Served("m", None, "sql"), "id")
    details = {"details": True} if stream else {}
    assert json.loads(request.body)["parameters"] == {"top_k": 3, "adapter_id": "sql"} | details
    wrong = ask(Operation.GENERATE, parameters=7)
    request = TgiAdapter().prepare(wrong, Served("m", None, "sql"), "id")
    assert json.loads(request.body)["parameters"] == 7
