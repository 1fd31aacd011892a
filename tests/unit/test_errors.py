import pytest

from gateway.errors import (
    ConfigInvalid,
    EngineOverloaded,
    EngineRefused,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    Source,
)


def test_an_error_says_what_its_class_says() -> None:
    error = ModelNotFound("no such model", param="model")
    assert str(error) == error.public == "no such model"
    assert (error.status, error.type) == (404, "invalid_request_error")
    assert (error.code, error.param) == ("model_not_found", "model")
    assert error.source is Source.CLIENT


def test_a_code_may_be_given_and_stays_with_its_error() -> None:
    assert InvalidRequest("x", code="context_length_exceeded").code == "context_length_exceeded"
    assert InvalidRequest("x").code is None


def test_an_engines_refusal_keeps_its_status() -> None:
    assert EngineRefused("x", status=422).status == 422
    assert EngineRefused("x").status == 400


@pytest.mark.parametrize("wait_s", [None, 0.0, 2.5])
def test_how_long_to_wait_is_known_or_not(wait_s: float | None) -> None:
    assert EngineOverloaded("x", retry_after_s=wait_s).retry_after_s == wait_s


def test_a_configuration_is_wrong_in_every_way_that_is_listed() -> None:
    error = ConfigInvalid(("a: one", "b: two"))
    assert error.problems == ("a: one", "b: two")
    assert str(error) == "a: one; b: two"


def _all(kind: type[GatewayError]) -> list[type[GatewayError]]:
    below = kind.__subclasses__()
    return below + [error for one in below for error in _all(one)]


@pytest.mark.parametrize("kind", _all(GatewayError))
def test_every_class_has_a_status_of_an_error(kind: type[GatewayError]) -> None:
    assert 400 <= kind.status <= 599
    assert kind.type
