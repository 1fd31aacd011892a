"""Put the inference endpoints, which FastAPI does not see, into the OpenAPI document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_MESSAGES = {"type": "array", "items": {"type": "object"}}
_TEXT = {"type": "string"}
_TEXTS = {"oneOf": [_TEXT, {"type": "array"}]}
_STREAM = {"type": "boolean", "description": "Answer as server-sent events."}
_TGI: dict[str, object] = {"inputs": _TEXT, "parameters": {"type": "object"}}

# path: summary, tag, the fields the gateway reads, those it must have
_ENDPOINTS: dict[str, tuple[str, str, dict[str, object], list[str]]] = {
    "/v1/chat/completions": (
        "Chat completion; every field the engine knows passes through",
        "inference",
        {"model": _TEXT, "messages": _MESSAGES, "stream": _STREAM},
        ["model", "messages"],
    ),
    "/v1/completions": (
        "Text completion",
        "inference",
        {"model": _TEXT, "prompt": _TEXTS, "stream": _STREAM},
        ["model", "prompt"],
    ),
    "/v1/embeddings": (
        "Embeddings",
        "inference",
        {"model": _TEXT, "input": _TEXTS},
        ["model", "input"],
    ),
    "/chat": (
        "One message in, one response out",
        "plain",
        {"message": _TEXT, "model": _TEXT},
        ["message"],
    ),
    "/chat/stream": (
        "One message in, its response as server-sent events",
        "plain",
        {"message": _TEXT, "model": _TEXT},
        ["message"],
    ),
    "/tgi/{model}/generate": ("TGI's own API", "text generation inference", _TGI, ["inputs"]),
    "/tgi/{model}/generate_stream": (
        "TGI's own API, as server-sent events",
        "text generation inference",
        _TGI,
        ["inputs"],
    ),
}
_TIMEOUT: dict[str, object] = {
    "name": "x-request-timeout-ms",
    "in": "header",
    "required": False,
    "description": "How long the client waits for the whole answer.",
    "schema": {"type": "integer", "minimum": 1},
}
_MIN_BITS: dict[str, object] = {
    "name": "x-gateway-min-bits",
    "in": "header",
    "required": False,
    "description": "Variants with fewer bits for a weight do not answer.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 64},
}
_ERROR = {
    "description": "OpenAI's error body (TGI's below /tgi)",
    "content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}},
}


def document_inference(app: FastAPI) -> None:
    """Make `/openapi.json` show every inference endpoint."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            for path in _ENDPOINTS:
                schema["paths"][path] = {"post": _operation(path)}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _operation(path: str) -> dict[str, Any]:
    summary, tag, properties, required = _ENDPOINTS[path]
    body = {"type": "object", "properties": properties, "required": required}
    parameters: list[dict[str, object]] = [_TIMEOUT, _MIN_BITS]
    if "{model}" in path:
        parameters.append({"name": "model", "in": "path", "required": True, "schema": _TEXT})
    return {
        "summary": summary,
        "tags": [tag],
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": "The answer",
                "content": {"application/json": {}, "text/event-stream": {}},
            },
            "default": _ERROR,
        },
    }
