import json

import pytest

from gateway.errors import EngineOverloaded, InvalidRequest, ModelNotFound
from gateway.proxy.dialect import OpenAiDialect
from gateway.wire.ask import Operation

DIALECT = OpenAiDialect()


def test_openais_words_need_no_translation() -> None:
    assert DIALECT.is_verbatim
    assert DIALECT.answer(b"{}") == b"{}"
    assert DIALECT.event(b"data: {}\n\n") == b"data: {}\n\n"


def test_a_body_is_read_and_a_path_may_name_the_model() -> None:
    assert DIALECT.ask(b'{"model":"m","messages":[]}', Operation.CHAT, None).model == "m"
    assert DIALECT.ask(b'{"model":"m","messages":[]}', Operation.CHAT, "path").model == "path"
    with pytest.raises(InvalidRequest):
        DIALECT.ask(b"[]", Operation.CHAT, None)


def test_a_failure_has_its_own_status_and_openais_body() -> None:
    error = ModelNotFound("no such model", param="model")
    assert DIALECT.status(error) == 404
    assert json.loads(DIALECT.error(error)) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_in_a_stream_the_same_body_is_an_event() -> None:
    error = EngineOverloaded("busy")
    assert DIALECT.error_event(error) == b"data: " + DIALECT.error(error) + b"\n\n"
