from fastapi import FastAPI

from gateway.api.endpoints import Endpoints
from gateway.api.openapi import document_inference


def a_document() -> dict[str, object]:
    app = FastAPI(title="t")
    document_inference(app)
    document = app.openapi()
    assert app.openapi() is document, "made once"
    return document


def test_every_inference_endpoint_is_documented() -> None:
    paths = a_document()["paths"]
    assert isinstance(paths, dict)
    assert set(Endpoints(str).fixed) <= set(paths)
    assert {"/tgi/{model}/generate", "/tgi/{model}/generate_stream"} <= set(paths)


def test_what_a_body_must_have_is_said() -> None:
    paths = a_document()["paths"]
    assert isinstance(paths, dict)
    chat = paths["/v1/chat/completions"]["post"]
    schema = chat["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["model", "messages"]
    assert [one["name"] for one in chat["parameters"]] == [
        "x-request-timeout-ms",
        "x-gateway-min-bits",
    ]


def test_a_model_in_the_path_is_a_parameter() -> None:
    paths = a_document()["paths"]
    assert isinstance(paths, dict)
    *_, parameter = paths["/tgi/{model}/generate"]["post"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("model", "path", True)
