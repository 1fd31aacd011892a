import json

import pytest

from gateway.errors import (
    ClientGone,
    EngineMisconfigured,
    EngineOverloaded,
    EngineRefused,
    GatewayError,
    InternalError,
    InvalidRequest,
    LimitTooSmall,
    NoReplica,
    RateLimited,
)
from gateway.wire.error_body import error_body, error_headers


def test_a_failure_is_told_in_openai_s_words() -> None:
    error = InvalidRequest("'n' must be an integer", param="n")
    assert json.loads(error_body(error)) == {
        "error": {
            "message": "'n' must be an integer",
            "type": "invalid_request_error",
            "param": "n",
            "code": None,
        }
    }


def test_a_code_of_the_instance_stands_before_the_class_s() -> None:
    error = EngineRefused("too long", status=422, code="context_length_exceeded")
    assert json.loads(error_body(error))["error"]["code"] == "context_length_exceeded"


def test_a_message_may_hold_anything() -> None:
    assert json.loads(error_body(InternalError('"é\n')))["error"]["message"] == '"é\n'


@pytest.mark.parametrize(
    ("wait_s", "seconds", "milliseconds"),
    [
        (None, b"1", b"1000"),
        (2.0, b"2", b"2000"),
        (0.25, b"1", b"250"),
        (1.0004, b"2", b"1001"),
        (1.001, b"2", b"1001"),
        (0.0, b"1", b"1"),
        (-3.0, b"1", b"1"),
    ],
)
def test_the_wait_is_told_in_both_spellings_and_never_too_short_in_seconds(
    wait_s: float | None, seconds: bytes, milliseconds: bytes
) -> None:
    error = RateLimited("slow down", retry_after_s=wait_s)
    assert error_headers(error) == [
        (b"retry-after", seconds),
        (b"retry-after-ms", milliseconds),
    ]


@pytest.mark.parametrize(
    "error", [EngineOverloaded("full"), NoReplica("none"), EngineMisconfigured("no model")]
)
def test_everything_that_may_pass_says_when_to_come_back(error: GatewayError) -> None:
    assert [name for name, _ in error_headers(error)] == [b"retry-after", b"retry-after-ms"]


@pytest.mark.parametrize("error", [InvalidRequest("no"), InternalError("no"), ClientGone("left")])
def test_what_will_not_pass_by_waiting_says_nothing(error: GatewayError) -> None:
    assert error_headers(error) == []


def test_what_waiting_does_not_help_is_not_to_be_tried_again() -> None:
    error = LimitTooSmall("too large", retry_after_s=3)
    error.headers = ((b"x-ratelimit-limit-tokens", b"5"),)
    assert error_headers(error) == [
        (b"x-ratelimit-limit-tokens", b"5"),
        (b"x-should-retry", b"false"),
    ]
