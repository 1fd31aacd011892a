"""TGI's error body: `{"error": text, "error_type": type}`.

Source: TGI 3.3 router; the types are those that `text-generation` turns into exceptions.
"""

import msgspec

from gateway.errors import EngineOverloaded, GatewayError, Source


class _Body(msgspec.Struct):
    error: str
    error_type: str


def tgi_error_body(error: GatewayError) -> bytes:
    """The failure in TGI's words."""
    return msgspec.json.encode(_Body(error.public, _error_type(error)))


def _error_type(error: GatewayError) -> str:
    if isinstance(error, EngineOverloaded) or error.status == 429:
        return "overloaded"
    if error.source is Source.CLIENT:
        return "validation"
    return "generation"
