"""A whole answer that is fetched as a stream, so that a death of its engine loses nothing of it.

To the engine, the relay and a resume it is a stream; the client gets it in one piece. What could
not be put together faithfully is fetched whole, and so is what is soon said again.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.engines.adapter import EngineAdapter
from gateway.engines.assembled import Assembled
from gateway.fleet.catalog import Variant
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.dialect import Dialect, OpenAiDialect
from gateway.proxy.hedge import is_short
from gateway.wire.ask import TRUE, Ask, Operation
from gateway.wire.http import Headers

SOON_SAID_TOKENS: Final = 128
_OF_STREAMS: Final = (b"content-type", b"cache-control", b"x-accel-buffering")
_JSON: Final = (b"content-type", b"application/json")
_WITH_USAGE: Final = msgspec.Raw(b'{"include_usage":true}')
# what streams tell otherwise, or engines parse otherwise in them
_WHOLE_ONLY: Final = frozenset(
    ("tools", "functions", "stream_options", "return_token_ids", "return_tokens_as_token_ids")
)
_OPENAI: Final = OpenAiDialect()


def is_gathered(ask: Ask, adapter: EngineAdapter, variant: Variant) -> bool:
    """Whether this answer is worth to be fetched as a stream, and the same when put together.

    A call that may be hedged is not: a second replica stands beside it already.
    """
    if ask.stream or variant.resume is not True or not variant.may_have_several:
        return False
    if ask.max_tokens is not None and ask.max_tokens <= SOON_SAID_TOKENS:
        return False
    if variant.hedging is not None and is_short(ask, variant.hedging):
        return False
    if not ask.fields.keys().isdisjoint(_WHOLE_ONLY):
        return False
    if ask.operation is Operation.COMPLETION and "logprobs" in ask.fields:
        return False
    return adapter.hindrance(ask) is None


def as_stream(call: Call, ask: Ask) -> tuple[Call, Ask]:
    """The same, streamed, in OpenAI's words."""
    fields = ask.fields | {"stream": TRUE, "stream_options": _WITH_USAGE}
    streamed = msgspec.structs.replace(ask, stream=True, include_usage=True, fields=fields)
    return msgspec.structs.replace(call, dialect=_OPENAI), streamed


class Gathered:
    """A `Client` in front of another: takes a stream, and gives it as one answer.

    `finish` raises EngineFault when no whole answer came of it; the client knows nothing then.
    """

    def __init__(self, client: Client, dialect: Dialect, assembled: Assembled) -> None:
        self.has_started = False
        self.blocked_since_s: float | None = None
        self._client = client
        self._dialect = dialect
        self._assembled = assembled
        self._headers: Headers = ()

    @property
    def is_gone(self) -> bool:
        return self._client.is_gone

    @property
    def is_finished(self) -> bool:
        return self._client.is_finished

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self._client.respond(status, headers, body)

    def start(self, status: int, headers: Headers) -> None:
        self.has_started = True
        self._headers = tuple([pair for pair in headers if pair[0] not in _OF_STREAMS])

    def write(self, piece: bytes) -> None:
        self._assembled.add(piece)

    def finish(self) -> None:
        body = self._dialect.answer(self._assembled.answer())
        self._client.respond(200, (*self._headers, _JSON), body)

    def abort(self) -> None:
        self._client.abort()

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Nothing that is kept is waited for."""
