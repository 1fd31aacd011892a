import json

import pytest

from gateway.engines.openai_errors import name_failure, read_error_field, read_words, retry_after_s
from gateway.errors import (
    EngineDraining,
    EngineFault,
    EngineMisconfigured,
    EngineOverloaded,
    EngineRefused,
    GatewayError,
)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "code": 400}},
        {"error": {"message": "no", "code": "400"}},
        {"error": "no", "error_type": "validation"},
        {"error": {"message": "no", "http_status_code": 422}},
        {"object": "error", "message": "no", "code": 400},
        {"message": "no", "code": "bad"},
    ],
)
def test_every_shape_of_an_error_is_read(body: object) -> None:
    assert read_words(json.dumps(body).encode()).message == "no"


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"detail": "x"}', b"\xff"])
def test_what_is_no_error_says_nothing(body: bytes) -> None:
    assert read_words(body).message == ""


@pytest.mark.parametrize("error", [b'"no"', b'{"message": "no"}'])
def test_the_error_of_an_event_is_read(error: bytes) -> None:
    assert read_error_field(error).message == "no"


def test_an_unreadable_error_of_an_event_says_nothing() -> None:
    assert read_error_field(b"[1]").message == ""


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (500, "cannot schedule new futures after shutdown", EngineDraining),
        # the words of a client, repeated
        (400, "cannot schedule new futures after shutdown", EngineRefused),
        (503, "", EngineOverloaded),
        (429, "", EngineOverloaded),
        (400, "Model is overloaded", EngineOverloaded),
        (401, "", EngineMisconfigured),
        (403, "", EngineMisconfigured),
        (404, "", EngineMisconfigured),
        (400, "no", EngineRefused),
        (413, "no", EngineRefused),
        (408, "slow", EngineFault),
        (500, "boom", EngineFault),
    ],
)
def test_failures_are_named_by_status_and_words(
    status: int, message: str, kind: type[GatewayError]
) -> None:
    words = read_words(json.dumps({"error": {"message": message}}).encode())
    assert type(name_failure(words, status, None)) is kind


def test_how_long_to_wait_is_passed_on() -> None:
    failure = name_failure(read_words(b"{}"), 503, 7.0)
    assert failure.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"5", 5.0),
        (b"0.5", 0.5),
        (b"-1", None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", None),
        (b"99999999", None),
        (b"nan", None),
    ],
)
def test_retry_after_is_seconds_or_nothing(value: bytes | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


@pytest.mark.parametrize(
    "secret",
    ["http://10.0.0.7:8000/v1", "10.0.0.7:8000", "/root/models/llama/config.json"],
)
def test_addresses_and_paths_of_the_engine_are_not_shown(secret: str) -> None:
    words = read_words(json.dumps({"error": f"bad thing at {secret} happened"}).encode())
    public = name_failure(words, 400, None).public
    assert secret not in public
    assert public.startswith("bad thing at")


def test_an_endless_message_is_cut() -> None:
    words = read_words(json.dumps({"error": "x" * 10_000}).encode())
    assert len(name_failure(words, 400, None).public) == 2000


def test_a_field_of_the_body_is_named_without_the_body() -> None:
    words = read_words(b'{"error": {"message": "no", "param": "body.stop"}}')
    assert name_failure(words, 400, None).param == "stop"


def test_without_words_a_refusal_still_says_something() -> None:
    assert name_failure(read_words(b""), 400, None).public == "the engine refused the request"


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 1024 tokens",
        "request exceeds the available context size",
        "Input validation error: `inputs` must have less than 1000 tokens",
    ],
)
def test_a_prompt_that_is_too_long_has_openais_code(message: str) -> None:
    failure = name_failure(read_words(json.dumps({"error": message}).encode()), 400, None)
    assert failure.code == "context_length_exceeded"
    assert failure.param == "messages"
