"""TGI's own API for models behind TGI: `/tgi/{model}/...`, with the gateway's keys and routes.

`POST /tgi/{model}/generate`, `/generate_stream` and `/` (where the body's `stream` decides and
a whole answer comes in a list); TGI's OpenAI routes too, for clients with one base URL. The
model's name may hold slashes and tags; errors have TGI's shape and status, so that its clients
raise what they always raise.

Source: TGI 3.3 router; `text-generation` 0.7.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import msgspec

from gateway.api.endpoint import Endpoint
from gateway.errors import GatewayError, Source
from gateway.proxy.dialect import Dialect, OpenAiDialect
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

    def status(self, error: GatewayError) -> int:
        return 422 if error.status == 400 and error.source is Source.CLIENT else error.status

    def error(self, error: GatewayError) -> bytes:
        return tgi_error_body(error)

    def error_event(self, error: GatewayError) -> bytes:
        return data_event(tgi_error_body(error))


_OPENAI = OpenAiDialect()
_ENDINGS: Mapping[str, tuple[Operation, Dialect]] = MappingProxyType(
    {
        "/generate": (Operation.GENERATE, TgiDialect(stream=False)),
        "/generate_stream": (Operation.GENERATE, TgiDialect(stream=True)),
        "/v1/chat/completions": (Operation.CHAT, _OPENAI),
        "/v1/completions": (Operation.COMPLETION, _OPENAI),
        "": (Operation.GENERATE, TgiDialect(stream=None, in_list=True)),
    }
)


@lru_cache(_MAX_KNOWN_PATHS)
def tgi_endpoint(path: str) -> Endpoint | None:
    """What a decoded path below `/tgi/` means; None when it is none of TGI's."""
    rest = path.removeprefix(PREFIX).removesuffix("/")
    for ending, (operation, dialect) in _ENDINGS.items():
        model = rest.removesuffix(ending)
        if rest.endswith(ending) and model:
            return Endpoint(operation, dialect, model)
    return None
