import pytest

from gateway.api.endpoints import Endpoints
from gateway.api.plain import PlainDialect
from gateway.proxy.dialect import OpenAiDialect
from gateway.wire.ask import Operation

ENDPOINTS = Endpoints(lambda: "first")


@pytest.mark.parametrize(
    ("path", "operation", "dialect"),
    [
        ("/v1/chat/completions", Operation.CHAT, OpenAiDialect),
        ("/v1/completions", Operation.COMPLETION, OpenAiDialect),
        ("/v1/embeddings", Operation.EMBEDDINGS, OpenAiDialect),
        ("/chat", Operation.CHAT, PlainDialect),
        ("/chat/stream", Operation.CHAT, PlainDialect),
    ],
)
def test_every_path_has_its_operation_and_words(
    path: str, operation: Operation, dialect: type
) -> None:
    endpoint = ENDPOINTS.at(path)
    assert endpoint is not None
    assert endpoint.operation is operation
    assert isinstance(endpoint.dialect, dialect)
    assert endpoint.model is None


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/",
        "/health",
        "/v1/models",
        "/v1/chat/completions/",
        "/v1/chat/completions?a=b",
        "/v1/chat%2Fcompletions",
        "http://gateway/v1/chat/completions",
        "/tgi/",
        "/tgi/m/generate?a=b",
        "/tgi/m/generate#a",
    ],
)
def test_anything_else_goes_the_ordinary_way(target: str) -> None:
    assert ENDPOINTS.at(target) is None


@pytest.mark.parametrize("target", ["/tgi/org/m:fp8/generate", "/tgi/org%2Fm%3afp8/generate"])
def test_a_model_in_the_path_is_decoded(target: str) -> None:
    endpoint = ENDPOINTS.at(target)
    assert endpoint is not None
    assert endpoint.model == "org/m:fp8"
