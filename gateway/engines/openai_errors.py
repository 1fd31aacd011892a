"""Read the error bodies that engines send, in every shape seen, and name the failure.

Shapes: OpenAI's object with a string or an int `code`; TGI's `{"error": text, "error_type"}`
and its stream event `{"error": {"message", "http_status_code"}}`; SGLang's flat
`{"object": "error", "message", "code"}`; FastAPI's `{"detail"}`; plain text.
"""

import re
from dataclasses import dataclass

import msgspec

from gateway.errors import (
    EngineDraining,
    EngineFault,
    EngineMisconfigured,
    EngineOverloaded,
    EngineRefused,
    GatewayError,
)
from gateway.wire.unreadable import UNREADABLE


@dataclass(frozen=True, slots=True)
class EngineWords:
    """What an engine said. `status` 0: it named none."""

    message: str
    status: int = 0
    type: str = ""
    param: str | None = None
    code: str | None = None


class _Object(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: int | str | None = None
    http_status_code: int | None = None


class _Body(msgspec.Struct):
    error: str | _Object | None = None
    error_type: str | None = None
    message: str | None = None
    param: str | None = None
    type: str | None = None
    code: int | str | None = None


_body = msgspec.json.Decoder(_Body)
_object = msgspec.json.Decoder(str | _Object)

_CONTEXT = re.compile(
    r"maximum context length|context size|max(imum)?[ _]input|exceed_context_size|"
    r"`inputs` (tokens|must have less than)",
    re.IGNORECASE,
)
_DRAINING = re.compile(r"cannot schedule new futures", re.IGNORECASE)
_OVERLOADED = re.compile(r"overloaded", re.IGNORECASE)
_MAX_MESSAGE_CHARS = 2000
# addresses and paths of the operator's network have no place in a client's error
_INTERNAL = re.compile(
    r"https?://\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|(?<!\w)/(?:[\w.-]+/)+[\w.-]*"
)


def read_words(body: bytes) -> EngineWords:
    """What a whole error body says."""
    try:
        given = _body.decode(body)
    except UNREADABLE:
        return EngineWords(message="")
    match given.error:
        case str(text):
            return EngineWords(message=text, type=given.error_type or "", param=given.param)
        case _Object() as error:
            return _from_object(error)
        case _:
            return EngineWords(
                message=given.message or "",
                type=given.type or "",
                param=given.param,
                status=given.code if isinstance(given.code, int) else 0,
                code=given.code if isinstance(given.code, str) else None,
            )


def read_error_field(error: bytes) -> EngineWords:
    """What the `error` field of a stream event says."""
    try:
        given = _object.decode(error)
    except UNREADABLE:
        return EngineWords(message="")
    return EngineWords(message=given) if isinstance(given, str) else _from_object(given)


def name_failure(words: EngineWords, status: int, retry_after_s: float | None) -> GatewayError:
    """The failure behind an engine's error. `status` is HTTP's, or what stands for it."""
    # a 4xx may repeat what the client wrote, and nobody shall drain a replica with words
    if status >= 500 and _DRAINING.search(words.message):
        return EngineDraining("the engine is shutting down")
    if status in (429, 503) or _OVERLOADED.search(words.message):
        return EngineOverloaded("the engine is overloaded, try again", retry_after_s=retry_after_s)
    if status in (401, 403):
        return EngineMisconfigured("the engine refused the gateway's credentials")
    if status == 404:
        return EngineMisconfigured("the engine does not serve this model")
    if 400 <= status < 500 and status != 408:
        return refused(words, status)
    return EngineFault("the engine failed to answer")


def retry_after_s(value: bytes | None) -> float | None:
    """Seconds in a `retry-after` header; None when absent, a date or nonsense."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 3600 else None


def _from_object(error: _Object) -> EngineWords:
    is_number = isinstance(error.code, int)
    return EngineWords(
        message=error.message,
        status=error.http_status_code or (error.code if isinstance(error.code, int) else 0),
        type=error.type or "",
        param=error.param,
        code=None if is_number or error.code is None else str(error.code),
    )


def refused(words: EngineWords, status: int) -> EngineRefused:
    """The engine's no to the request itself, in its words but without its addresses."""
    message = _INTERNAL.sub("…", words.message[:_MAX_MESSAGE_CHARS])
    message = message or "the engine refused the request"
    if _CONTEXT.search(words.message) or words.type == "exceed_context_size_error":
        return EngineRefused(message, param="messages", code="context_length_exceeded")
    # FastAPI puts the part of the request before the field's name
    param = words.param.removeprefix("body.") if words.param else None
    return EngineRefused(message, status=status, param=param, code=words.code)
