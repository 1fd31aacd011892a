import json

import pytest

from gateway.api.tgi import TgiDialect, tgi_endpoint
from gateway.errors import (
    EngineFault,
    EngineOverloaded,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
)
from gateway.proxy.dialect import OpenAiDialect
from gateway.wire.ask import Operation


@pytest.mark.parametrize(
    ("path", "model", "operation"),
    [
        ("/tgi/m/generate", "m", Operation.GENERATE),
        ("/tgi/m/generate_stream", "m", Operation.GENERATE),
        ("/tgi/m", "m", Operation.GENERATE),
        ("/tgi/m/", "m", Operation.GENERATE),
        ("/tgi/org/m:fp8/generate", "org/m:fp8", Operation.GENERATE),
        ("/tgi/m/v1/chat/completions", "m", Operation.CHAT),
        ("/tgi/m/v1/completions", "m", Operation.COMPLETION),
    ],
)
def test_a_path_names_the_model_and_what_is_asked(
    path: str, model: str, operation: Operation
) -> None:
    endpoint = tgi_endpoint(path)
    assert endpoint is not None
    assert (endpoint.model, endpoint.operation) == (model, operation)


def test_its_openai_routes_speak_openais_words() -> None:
    endpoint = tgi_endpoint("/tgi/m/v1/chat/completions")
    assert endpoint is not None
    assert isinstance(endpoint.dialect, OpenAiDialect)


@pytest.mark.parametrize("path", ["/tgi/", "/tgi//"])
def test_without_a_model_there_is_nothing(path: str) -> None:
    assert tgi_endpoint(path) is None


@pytest.mark.parametrize(
    ("stream", "body", "wanted"),
    [
        (True, b'{"inputs":"x"}', True),
        (False, b'{"inputs":"x","stream":true}', False),
        (None, b'{"inputs":"x","stream":true}', True),
        (None, b'{"inputs":"x"}', False),
    ],
)
def test_the_path_decides_on_streaming_where_it_can(
    stream: bool | None, body: bytes, wanted: bool
) -> None:
    ask = TgiDialect(stream=stream).ask(body, Operation.GENERATE, "m")
    assert (ask.stream, ask.model) == (wanted, "m")


def test_the_compatible_route_answers_with_a_list() -> None:
    assert TgiDialect(stream=None, in_list=True).answer(b"{}") == b"[{}]"
    assert TgiDialect(stream=False).answer(b"{}") == b"{}"


def test_events_pass_as_they_are() -> None:
    assert TgiDialect(stream=True).event(b"data:{}\n\n") == b"data:{}\n\n"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequest("wrong"), 422, "validation"),
        (ModelNotFound("wrong"), 404, "validation"),
        (EngineOverloaded("wrong"), 503, "overloaded"),
        (EngineFault("wrong"), 502, "generation"),
    ],
)
def test_failures_have_tgis_status_and_shape(error: GatewayError, status: int, kind: str) -> None:
    dialect = TgiDialect(stream=True)
    assert dialect.status(error) == status
    assert json.loads(dialect.error(error)) == {"error": "wrong", "error_type": kind}
    assert dialect.error_event(error) == b"data: " + dialect.error(error) + b"\n\n"
