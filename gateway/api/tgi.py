"""TGI's own API for models behind TGI: `/tgi/{model}/...`, with the gateway's keys and routes.

`POST /tgi/{model}/generate`, `/generate_stream` and `/` (where the body's `stream` decides and
a whole answer comes in a list), `GET /tgi/{model}/info`. The model's name may hold slashes and
tags; errors have TGI's shape, so that its clients raise what they always raise.

Source: TGI 3.3 router; `text-generation` 0.7.
"""

from functools import lru_cache
from urllib.parse import unquote

import msgspec

from gateway.api.inference import Endpoint
from gateway.errors import GatewayError
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.sse import data_event
from gateway.wire.tgi_error_body import tgi_error_body

PREFIX = "/tgi/"
_MAX_KNOWN_PATHS = 1024


class TgiDialect:
    """One of TGI's endpoints. `stream` None: the body says; `in_list`: a compatibility answer."""

    is_verbatim = True

    def __init__(self, *, stream: bool | None, in_list: bool = False) -> None:
        self._stream = stream
        self._in_list = in_list

    def ask(self, body: bytes, operation: Operation, model: str | None) -> Ask:
        ask = read_ask(body, operation, model=model)
        return ask if self._stream is None else msgspec.structs.replace(ask, stream=self._stream)

    def answer(self, body: bytes) -> bytes:
        return b"[%b]" % body if self._in_list else body

    def event(self, event: bytes) -> bytes | None:
        return event

    def error(self, error: GatewayError) -> bytes:
        return tgi_error_body(error)

    def error_event(self, error: GatewayError) -> bytes:
        return data_event(tgi_error_body(error))


_DIALECTS = {
    "/generate": TgiDialect(stream=False),
    "/generate_stream": TgiDialect(stream=True),
    "": TgiDialect(stream=None, in_list=True),
}


@lru_cache(_MAX_KNOWN_PATHS)
def tgi_endpoint(path: str) -> Endpoint | None:
    """What a path below `/tgi/` means; None when it is none of TGI's."""
    if not path.startswith(PREFIX):
        return None
    rest = unquote(path.removeprefix(PREFIX)).removesuffix("/")
    for ending, dialect in _DIALECTS.items():
        model = rest.removesuffix(ending)
        if rest.endswith(ending) and model:
            return Endpoint(Operation.GENERATE, dialect, model)
    return None
