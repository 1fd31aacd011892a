"""What an engine does on the wire, as far as the gateway relies on it.

Every check is a function over a client, the name the engine serves its model under, and the kind
of engine; it is run against simulated engines and against the real ones alike, so that neither
the simulation nor the gateway's beliefs can drift away from what engines do.

Greedy answers repeat themselves, on real engines too: whole and streamed answers are compared.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.engines import ENGINES
from gateway.engines.adapter import Served, State
from gateway.fleet.trials import TRIAL

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Hello world"}]
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
PATIENCE_S = 10.0

Check = Callable[[httpx.Client, str, str], None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an engine says to a bad request. `kind` None: it says so in plain text."""

    status: int
    kind: str | None = None
    param: str | None = None


OK: Mapping[str, Sequence[str]] = {
    "vllm": ("/health", "/v1/models", "/metrics", "/version", "/load"),
    "llamacpp": ("/health", "/v1/health", "/v1/models", "/metrics", "/props", "/slots"),
    "tgi": ("/health", "/", "/ping", "/info", "/v1/models", "/metrics"),
}
UNKNOWN_PATH: Mapping[str, object] = {
    "vllm": {"detail": "Not Found"},
    "llamacpp": {
        "error": {"message": "File Not Found", "type": "not_found_error", "code": 404},
    },
}
INVALID, BAD = "Bad Request", "BadRequestError"
LLAMA_INVALID = "invalid_request_error"
VALIDATION = "validation"
BODIES: Mapping[str, object] = {
    "empty body": "",
    "malformed JSON": '{"model":"tiny","messages":[',
    "not an object": "[1,2]",
    "no messages": {},
    "messages of a wrong type": {"messages": "Hello"},
    "a message of a wrong type": {"messages": ["Hello"]},
    "temperature of a wrong type": {"messages": MESSAGES, "temperature": "warm"},
    "max_tokens of a wrong type": {"messages": MESSAGES, "max_tokens": "many"},
    "stop of a wrong type": {"messages": MESSAGES, "stop": {"a": 1}, "max_tokens": 1},
    "an empty stop string": {"messages": MESSAGES, "stop": [""], "max_tokens": 1},
    "no choice asked for": {"messages": MESSAGES, "n": 0, "max_tokens": 1},
    "many greedy choices": {"messages": MESSAGES, "n": 2, "temperature": 0, "max_tokens": 1},
    "token ids that are none": {
        "messages": MESSAGES,
        "kv_transfer_params": {"prompt_token_ids": "abc"},
    },
    "nested without end": "[" * 200_000,
    "temperature out of range": {"messages": MESSAGES, "temperature": -3, "max_tokens": 1},
    "no token asked for": {"messages": MESSAGES, "max_tokens": 0},
    "too many tokens asked for": {"messages": MESSAGES, "max_tokens": 1_000_000},
    "unknown model": {"messages": MESSAGES, "model": "nobody", "max_tokens": 1},
    "stream options without a stream": {
        "messages": MESSAGES,
        "stream_options": {"include_usage": True},
        "max_tokens": 1,
    },
    "no tools in the list": {"messages": MESSAGES, "tools": [], "max_tokens": 1},
    "five stop strings": {"messages": MESSAGES, "stop": list("abcde"), "max_tokens": 1},
}
FINE = Refusal(200)
REFUSALS: Mapping[str, Mapping[str, Refusal]] = {
    "vllm": {
        "empty body": Refusal(400, INVALID, "body"),
        "malformed JSON": Refusal(400, INVALID, "body.28"),
        "not an object": Refusal(400, INVALID, "body"),
        "no messages": Refusal(400, INVALID, "body.messages"),
        "messages of a wrong type": Refusal(400, INVALID, "body.messages"),
        "a message of a wrong type": Refusal(400, INVALID),
        "temperature of a wrong type": Refusal(400, INVALID, "body.temperature"),
        "max_tokens of a wrong type": Refusal(400, INVALID, "body.max_tokens"),
        "stop of a wrong type": Refusal(400, INVALID),
        "an empty stop string": Refusal(400, BAD),
        "no choice asked for": Refusal(400, BAD),
        "many greedy choices": Refusal(400, BAD),
        "token ids that are none": Refusal(400, BAD, "kv_transfer_params.prompt_token_ids"),
        "nested without end": Refusal(400),
        "temperature out of range": Refusal(400, BAD, "temperature"),
        "no token asked for": Refusal(400, BAD, "max_tokens"),
        "too many tokens asked for": Refusal(400, BAD, "max_tokens"),
        "unknown model": Refusal(404, "NotFoundError", "model"),
        "stream options without a stream": Refusal(400, BAD, "stream_options"),
        "no tools in the list": Refusal(400, BAD, "tools"),
        "five stop strings": Refusal(400, INVALID, "body.stop"),
    },
    "llamacpp": {
        "empty body": Refusal(500, "server_error"),
        "malformed JSON": Refusal(500, "server_error"),
        "not an object": Refusal(400, LLAMA_INVALID),
        "no messages": Refusal(400, LLAMA_INVALID),
        "messages of a wrong type": Refusal(400, LLAMA_INVALID),
        "a message of a wrong type": Refusal(400, LLAMA_INVALID),
        "temperature of a wrong type": Refusal(400, LLAMA_INVALID),
        "max_tokens of a wrong type": Refusal(400, LLAMA_INVALID),
        "stop of a wrong type": FINE,
        "an empty stop string": FINE,
        "temperature out of range": FINE,
        "no token asked for": FINE,
        "unknown model": FINE,
        "stream options without a stream": FINE,
        "no tools in the list": FINE,
        "five stop strings": FINE,
    },
    "tgi": {
        "empty body": Refusal(400),
        "malformed JSON": Refusal(400),
        "not an object": Refusal(422),
        "no messages": Refusal(422),
        "messages of a wrong type": Refusal(422),
        "a message of a wrong type": Refusal(422),
        "temperature of a wrong type": Refusal(422),
        "max_tokens of a wrong type": Refusal(422),
        "stop of a wrong type": Refusal(422),
        "temperature out of range": Refusal(422, VALIDATION),
        "no token asked for": Refusal(422, VALIDATION),
        "too many tokens asked for": Refusal(422, VALIDATION),
        "unknown model": Refusal(422, VALIDATION),
        "five stop strings": Refusal(422, VALIDATION),
    },
}


def chat(client: httpx.Client, model: str, **fields: Any) -> httpx.Response:
    """A greedy chat completion of five tokens, unless told otherwise."""
    body = {"model": model, "messages": MESSAGES, "temperature": 0, "max_tokens": 5} | fields
    return client.post(CHAT, json=body)


def completion(client: httpx.Client, model: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "prompt": "Hello world", "temperature": 0, "max_tokens": 5} | fields
    return client.post(COMPLETIONS, json=body)


def asked_name(served: str, kind: str) -> str:
    """The model name that goes with a request: TGI takes any other for an adapter."""
    return "tgi" if kind == "tgi" else served


def events_of(response: httpx.Response) -> list[Any]:
    """The events of a stream that ended well; every event is one line and an empty one."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, rest = response.text.split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    *payloads, last = [event.removeprefix("data: ") for event in events]
    assert last == "[DONE]"
    return [json.loads(payload) for payload in payloads]


def text_of(events: Sequence[Any]) -> str:
    choices = [choice for event in events for choice in event["choices"]]
    return "".join(
        (choice["delta"].get("content") if "delta" in choice else choice["text"]) or ""
        for choice in choices
    )


def finishes_of(events: Sequence[Any]) -> list[str]:
    reasons = [choice["finish_reason"] for event in events for choice in event["choices"]]
    return [reason for reason in reasons if reason]


def check_usage(usage: Any, completion_tokens: int) -> None:
    assert usage["completion_tokens"] == completion_tokens
    assert usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + completion_tokens


def context_of(client: httpx.Client, kind: str) -> int:
    """Tokens in the context of one request, as the engine itself says."""
    path = "/info" if kind == "tgi" else "/v1/models"
    said = client.get(path).json()
    if kind == "tgi":
        return int(said["max_total_tokens"])
    model = said["data"][0]
    return int(model["max_model_len"] if kind == "vllm" else model["meta"]["n_ctx"])


def it_is_well(client: httpx.Client, served: str, kind: str) -> None:
    health = client.get("/health")
    assert health.status_code == 200
    assert health.text == ('{"status":"ok"}' if kind == "llamacpp" else "")


def its_models_are_listed(client: httpx.Client, served: str, kind: str) -> None:
    models = client.get("/v1/models").json()
    assert models["object"] == "list"
    assert models["data"][0]["id"] == served
    for model in models["data"]:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert isinstance(model["owned_by"], str)


def its_probes_say_that_it_is_ready_and_has_its_model(
    client: httpx.Client, served: str, kind: str
) -> None:
    adapter = ENGINES[kind]
    health = client.get(adapter.health_path)
    assert adapter.state(health.status_code, health.content) is State.READY
    assert (adapter.models_path is not None) == (kind == "vllm")
    if adapter.models_path is not None:
        models = client.get(adapter.models_path)
        said = [
            adapter.model_state(models.status_code, models.content, name)
            for name in (served, served + "-other")
        ]
        assert said == [State.READY, State.MODEL_MISSING]


def the_trial_of_an_ejected_replica_is_answered_by_a_token(
    client: httpx.Client, served: str, kind: str
) -> None:
    request = ENGINES[kind].prepare(TRIAL, Served(served), "trial")
    head = [*request.fixed, *request.headers]
    answer = client.request(request.method, request.path, headers=head, content=request.body)
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 1


def its_paths_exist(client: httpx.Client, served: str, kind: str) -> None:
    assert {path: client.get(path).status_code for path in OK[kind]} == dict.fromkeys(OK[kind], 200)


def other_paths_do_not_exist(client: httpx.Client, served: str, kind: str) -> None:
    if kind not in UNKNOWN_PATH:
        assert client.get("/v1/nothing").status_code == 404
        return
    for response in (client.get("/v1/nothing"), client.post("/v1/nothing", json={})):
        assert (response.status_code, response.json()) == (404, UNKNOWN_PATH[kind])
    wrong_method = client.get(CHAT)
    if kind == "vllm":
        assert wrong_method.status_code == 405
        assert wrong_method.json() == {"detail": "Method Not Allowed"}
    else:
        assert (wrong_method.status_code, wrong_method.json()) == (404, UNKNOWN_PATH[kind])


def its_metrics_tell_its_load(client: httpx.Client, served: str, kind: str) -> None:
    """The gateway's own reader finds all that it looks for."""
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    load = ENGINES[kind].load(metrics.content)
    assert load.running is not None
    assert load.waiting is not None
    if kind == "vllm":
        assert not load.asleep
        assert load.kv_cache_used_ratio is not None
        assert load.kv_cache_tokens is not None
        assert load.kv_cache_tokens >= context_of(client, kind)


def a_chat_is_answered_whole(client: httpx.Client, served: str, kind: str) -> None:
    response = chat(client, asked_name(served, kind))
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("" if kind == "tgi" else "chatcmpl-")
    assert isinstance(answer["created"], int)
    assert answer["model"] == served
    assert answer["system_fingerprint"]
    (choice,) = answer["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "length")
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    check_usage(answer["usage"], 5)


def a_chat_is_streamed(client: httpx.Client, served: str, kind: str) -> None:
    model = asked_name(served, kind)
    events = events_of(chat(client, model, stream=True))
    first, *_ = events
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert {event["model"] for event in events} == {served}
    assert len({event["id"] for event in events}) == 1
    assert all(isinstance(event["created"], int) for event in events)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert finishes_of(events) == ["length"]
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert not any(event.get("usage") for event in events)
    whole = chat(client, model).json()["choices"][0]["message"]["content"]
    assert text_of(events) == whole


def the_first_chunk_says_the_role_and_nothing_else(
    client: httpx.Client, served: str, kind: str
) -> None:
    first, second, *_ = events_of(chat(client, asked_name(served, kind), stream=True))
    deltas = [event["choices"][0]["delta"] for event in (first, second)]
    if kind == "tgi":
        assert all(delta["role"] == "assistant" and delta["content"] for delta in deltas)
        return
    assert deltas[0] == {"role": "assistant", "content": "" if kind == "vllm" else None}
    assert list(deltas[1]) == ["content"]


def the_usage_of_a_streamed_chat_comes_last_when_asked_for(
    client: httpx.Client, served: str, kind: str
) -> None:
    *content, last = events_of(chat(client, asked_name(served, kind), **USAGE))
    assert last["choices"] == []
    check_usage(last["usage"], 5)
    assert not any(event.get("usage") for event in content)


def a_completion_is_answered_whole(client: httpx.Client, served: str, kind: str) -> None:
    answer = completion(client, asked_name(served, kind)).json()
    prefixes = {"vllm": "cmpl-", "llamacpp": "chatcmpl-", "tgi": ""}
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith(prefixes[kind])
    (choice,) = answer["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "length")
    assert choice["text"]
    check_usage(answer["usage"], 5)


def a_completion_is_streamed(client: httpx.Client, served: str, kind: str) -> None:
    model = asked_name(served, kind)
    events = events_of(completion(client, model, stream=True))
    assert {event["object"] for event in events} == {"text_completion"}
    assert finishes_of(events) == ["length"]
    assert text_of(events) == completion(client, model).json()["choices"][0]["text"]


def the_usage_of_a_streamed_completion_comes_last_when_asked_for(
    client: httpx.Client, served: str, kind: str
) -> None:
    *content, last = events_of(completion(client, asked_name(served, kind), **USAGE))
    check_usage(last["usage"], 5)
    assert not any(event.get("usage") for event in content)
    if kind == "llamacpp":
        assert last["choices"][0]["finish_reason"] == "length"
    else:
        assert last["choices"] == []


def a_stop_string_ends_an_answer_and_is_not_shown(
    client: httpx.Client, served: str, kind: str
) -> None:
    model = asked_name(served, kind)
    text = chat(client, model, max_tokens=40).json()["choices"][0]["message"]["content"]
    stop = text[15:18]
    before = text[: text.index(stop)]
    whole = chat(client, model, max_tokens=40, stop=[stop]).json()["choices"][0]
    events = events_of(chat(client, model, max_tokens=40, stop=[stop], stream=True))
    reason = "stop_sequence" if kind == "tgi" else "stop"
    assert (whole["message"]["content"], whole["finish_reason"]) == (before, reason)
    assert (text_of(events), finishes_of(events)) == (before, [reason])
    if kind == "vllm":
        assert whole["stop_reason"] == stop
        assert events[-1]["choices"][0]["stop_reason"] == stop


def a_message_may_come_in_parts(client: httpx.Client, served: str, kind: str) -> None:
    model = asked_name(served, kind)
    parts = [{"type": "text", "text": "Hello world"}]
    whole = chat(client, model, messages=[{"role": "user", "content": parts}]).json()
    assert whole["choices"][0]["message"] == chat(client, model).json()["choices"][0]["message"]


def no_model_means_its_own(client: httpx.Client, served: str, kind: str) -> None:
    response = client.post(CHAT, json={"messages": MESSAGES, "max_tokens": 1})
    assert (response.status_code, response.json()["model"]) == (200, served)


def several_choices_are_told_apart(client: httpx.Client, served: str, kind: str) -> None:
    if kind == "tgi":
        return  # it ignores n
    fields = {"n": 2, "temperature": 1, "seed": 7}
    whole = chat(client, served, **fields).json()
    events = events_of(chat(client, served, stream=True, **fields))
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert finishes_of(events) == ["length", "length"]
    assert {choice["index"] for event in events for choice in event["choices"]} == {0, 1}


def several_prompts_get_several_answers(client: httpx.Client, served: str, kind: str) -> None:
    if kind == "tgi":
        return  # it takes one prompt
    alone = [completion(client, served, prompt=p).json()["choices"][0] for p in ("Hello", "world")]
    both = completion(client, served, prompt=["Hello", "world"]).json()["choices"]
    assert [choice["text"] for choice in both] == [choice["text"] for choice in alone]
    assert [choice["index"] for choice in both] == [0, 1]


def text_becomes_tokens_and_text_again(client: httpx.Client, served: str, kind: str) -> None:
    if kind == "tgi":
        return  # it tokenizes otherwise, and not back
    text = {"model": served, "prompt": "Hello", "content": "Hello", "add_special_tokens": False}
    tokens = client.post("/tokenize", json=text).json()["tokens"]
    back = client.post("/detokenize", json={"model": served, "tokens": tokens}).json()
    assert back["prompt" if kind == "vllm" else "content"] == "Hello"
    from_ids = completion(client, served, prompt=tokens).json()["choices"][0]["text"]
    assert from_ids == completion(client, served, prompt="Hello").json()["choices"][0]["text"]


def bad_requests_are_refused_in_its_own_words(client: httpx.Client, served: str, kind: str) -> None:
    said: dict[str, Refusal] = {}
    for name in REFUSALS[kind]:
        body = BODIES[name]
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"content-type": "application/json"}
        said[name] = _refusal(client.post(CHAT, content=text, headers=headers))
    expected = dict(REFUSALS[kind])
    for name, refusal in expected.items():
        if refusal.param is None and kind == "vllm" and refusal != FINE:
            # its parser names one of several places
            said[name] = Refusal(said[name].status, said[name].kind)
    assert said == expected


def _refusal(response: httpx.Response) -> Refusal:
    status = response.status_code
    if status == 200:
        return FINE
    if not response.headers["content-type"].startswith("application/json"):
        return Refusal(status)
    told = response.json()
    if "error" not in told:
        assert told["detail"]
        return Refusal(status)
    if isinstance(told["error"], str):
        return Refusal(status, told["error_type"])
    error = told["error"]
    assert isinstance(error["message"], str)
    assert error["code"] == status
    return Refusal(status, error["type"], error.get("param"))


def a_prompt_that_does_not_fit_is_refused_before_a_stream_begins(
    client: httpx.Client, served: str, kind: str
) -> None:
    content = "Z" * (context_of(client, kind) * 6 + 100)
    for stream in (False, True):
        messages = [{"role": "user", "content": content}]
        response = chat(client, asked_name(served, kind), messages=messages, stream=stream)
        expected = {
            "vllm": Refusal(400, BAD, "input_tokens"),
            "llamacpp": Refusal(400, "exceed_context_size_error"),
            "tgi": Refusal(422, VALIDATION),
        }
        assert _refusal(response) == expected[kind]


def an_answer_that_does_not_fit_is_refused_or_cut(
    client: httpx.Client, served: str, kind: str
) -> None:
    limit = context_of(client, kind)
    if kind == "tgi":
        assert _refusal(chat(client, "tgi", max_tokens=limit)) == Refusal(422, VALIDATION)
        return
    text = "Z" * 600
    asked = {"model": served, "prompt": text, "content": text}
    tokens = client.post("/tokenize", json=asked).json()["tokens"]
    content = "Z" * (600 // len(tokens) * (limit - 30))
    messages = [{"role": "user", "content": content}]
    for answer in (
        chat(client, served, messages=messages, max_tokens=500).json(),
        completion(client, served, prompt=content, max_tokens=500).json(),
    ):
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["total_tokens"] == limit


def its_parameters_may_be_refused_inside_a_200(
    client: httpx.Client, served: str, kind: str
) -> None:
    """vLLM sends its headers before its engine has looked at the parameters."""
    if kind != "vllm":
        return
    bias = {"999999999999999": 1}
    (event,) = events_of(chat(client, served, logit_bias=bias, stream=True))
    assert (event["error"]["code"], event["error"]["param"]) == (400, "logit_bias")
    assert _refusal(chat(client, served, logit_bias=bias)) == Refusal(400, BAD, "logit_bias")


def a_stream_goes_on_from_token_ids(client: httpx.Client, served: str, kind: str) -> None:
    """What a stream that broke off is continued with elsewhere."""
    if kind != "vllm":
        return
    asked = {"stream": True, "return_token_ids": True}
    first, *content = events_of(chat(client, served, max_tokens=10, **asked))
    ids = [token for event in content for token in event["choices"][0]["token_ids"]]
    assert len(ids) == 10
    prompt = first["prompt_token_ids"] + ids[:4]
    params = {"prompt_token_ids": prompt}
    _, *rest = events_of(chat(client, served, max_tokens=6, kv_transfer_params=params, **asked))
    continued = [token for event in rest for token in event["choices"][0]["token_ids"]]
    assert continued == ids[4:]
    events = events_of(completion(client, served, prompt=prompt, max_tokens=6, **asked))
    raw = [token for event in events for token in event["choices"][0]["token_ids"]]
    assert raw == ids[4:]


def an_answer_goes_on_from_its_text(client: httpx.Client, served: str, kind: str) -> None:
    model = asked_name(served, kind)
    text = chat(client, model, max_tokens=12).json()["choices"][0]["message"]["content"]
    begun = [*MESSAGES, {"role": "assistant", "content": text}]
    flags = {"continue_final_message": True, "add_generation_prompt": False}
    more = chat(client, model, messages=begun, max_tokens=3, **(flags if kind == "vllm" else {}))
    assert more.status_code == 200
    assert more.json()["choices"][0]["message"]["content"]
    if kind == "vllm":
        both = chat(client, model, messages=begun, continue_final_message=True)
        assert _refusal(both).status == 400


def a_given_request_id_becomes_part_of_the_id(client: httpx.Client, served: str, kind: str) -> None:
    if kind != "vllm":
        return
    body = {"model": served, "messages": MESSAGES, "max_tokens": 1}
    response = client.post(CHAT, json=body, headers={"x-request-id": "given-by-client"})
    assert response.json()["id"] == "chatcmpl-given-by-client"


def usage_may_come_with_every_chunk(client: httpx.Client, served: str, kind: str) -> None:
    if kind != "vllm":
        return
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = events_of(chat(client, served, stream=True, stream_options=options))
    assert [event["usage"]["completion_tokens"] for event in events] == [0, 1, 2, 3, 4, 5, 5]


def a_client_that_leaves_frees_its_request(client: httpx.Client, served: str, kind: str) -> None:
    body = {"messages": MESSAGES, "max_tokens": 800, "stream": True, "model": served}
    body["model"] = asked_name(served, kind)
    with client.stream("POST", CHAT, json=body) as response:
        next(response.iter_raw())
    deadline = time.monotonic() + PATIENCE_S
    while ENGINES[kind].load(client.get("/metrics").content).running:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def a_completion_needs_a_prompt(client: httpx.Client, served: str, kind: str) -> None:
    prompts: tuple[object, ...] = (None, "", [])
    for prompt in prompts:
        response = completion(client, served, prompt=prompt)
        if kind == "vllm":
            param = None if prompt == [] else "prompt"
            assert _refusal(response) == Refusal(400, BAD, param)
        elif kind == "tgi" or prompt is None:
            assert response.status_code in (400, 422)


def only_json_is_taken(client: httpx.Client, served: str, kind: str) -> None:
    if kind != "vllm":
        return
    body = json.dumps({"messages": MESSAGES, "max_tokens": 1})
    assert _refusal(client.post(CHAT, content=body)) == Refusal(400, INVALID)
    headers = {"content-type": "application/json; charset=utf-8"}
    assert client.post(CHAT, content=body, headers=headers).status_code == 200


CHECKS: tuple[Check, ...] = (
    it_is_well,
    its_models_are_listed,
    its_probes_say_that_it_is_ready_and_has_its_model,
    the_trial_of_an_ejected_replica_is_answered_by_a_token,
    its_paths_exist,
    other_paths_do_not_exist,
    its_metrics_tell_its_load,
    a_chat_is_answered_whole,
    a_chat_is_streamed,
    the_first_chunk_says_the_role_and_nothing_else,
    the_usage_of_a_streamed_chat_comes_last_when_asked_for,
    a_completion_is_answered_whole,
    a_completion_is_streamed,
    the_usage_of_a_streamed_completion_comes_last_when_asked_for,
    a_stop_string_ends_an_answer_and_is_not_shown,
    a_message_may_come_in_parts,
    no_model_means_its_own,
    several_choices_are_told_apart,
    several_prompts_get_several_answers,
    text_becomes_tokens_and_text_again,
    bad_requests_are_refused_in_its_own_words,
    a_completion_needs_a_prompt,
    only_json_is_taken,
    a_prompt_that_does_not_fit_is_refused_before_a_stream_begins,
    an_answer_that_does_not_fit_is_refused_or_cut,
    its_parameters_may_be_refused_inside_a_200,
    a_stream_goes_on_from_token_ids,
    an_answer_goes_on_from_its_text,
    a_given_request_id_becomes_part_of_the_id,
    usage_may_come_with_every_chunk,
    a_client_that_leaves_frees_its_request,
)
