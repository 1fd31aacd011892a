import pytest

from gateway.errors import ConnectionLost, EngineFault, EngineOverloaded, EngineUnreachable
from gateway.remote.failure import (
    Failure,
    broken,
    cut_short,
    error_event,
    refused,
    timed_out,
    unreadable,
)


@pytest.mark.parametrize(
    ("body", "label", "message"),
    [
        (
            b'{"error": {"message": "no  key", "code": "invalid_api_key"}}',
            "401 invalid_api_key",
            "no key",
        ),
        (b'{"error": {"message": "m", "type": "t", "code": null}}', "401 t", "m"),
        (b'{"error": "Unauthorized"}', "401", "Unauthorized"),
        (b'{"detail": "Not Found"}', "401", "Not Found"),
        (b'{"object": "error", "message": "flat", "code": 401}', "401", "flat"),
        (b"<html>nginx</html>", "401", "<html>nginx</html>"),
        (b"[1]", "401", "[1]"),
        (b"", "401", ""),
    ],
)
def test_an_error_is_read_in_whatever_words_it_has(body: bytes, label: str, message: str) -> None:
    assert refused(401, body) == Failure(label, message, 401)


def test_words_without_end_are_cut() -> None:
    assert len(refused(500, b"x" * 10_000).message) == 300


def test_an_error_within_a_stream_says_so() -> None:
    assert error_event(b'{"message": "m", "code": 500}') == Failure("error event 500", "m", 200)
    assert error_event(b'"text"') == Failure("error event", "text", 200)


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (EngineUnreachable("the engine could not be reached"), "cannot connect"),
        (EngineOverloaded("x"), "out of connections"),
        (ConnectionLost("x"), "connection lost"),
        (EngineFault("x"), "not HTTP"),
    ],
)
def test_a_broken_connection_is_told_apart(error: EngineFault, label: str) -> None:
    failure = broken(error)
    assert failure.label == label
    assert failure.status == 0
    assert "engine" not in failure.message


def test_other_ends() -> None:
    assert timed_out(2.5).message == "no whole answer within 2.5 s"
    assert cut_short().label == "stream cut short"
    assert unreadable("x") == Failure("unreadable answer", "x", 200)
