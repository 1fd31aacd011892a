"""The plain endpoints: `{"message", "model"}` in; `{"response"}` out, or a stream of them.

Fields beside `message` and `model` go on to the engine, so `max_tokens` or `temperature` work.
Without `model` the first of the configuration answers.
"""

from collections.abc import Callable

import msgspec

from gateway.errors import GatewayError, InvalidRequest
from gateway.wire.ask import TRUE, Ask, Operation, encode_string, read_ask, read_fields
from gateway.wire.error_body import error_body
from gateway.wire.sse import data_event, event_data
from gateway.wire.unreadable import UNREADABLE


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Text | None = None
    delta: _Text | None = None


class _Choices(msgspec.Struct):
    choices: list[_Choice] = []


class _Response(msgspec.Struct):
    response: str


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(_Choices)
_string = msgspec.json.Decoder(str)


class PlainDialect:
    """One plain endpoint: `stream` is decided by its path."""

    is_verbatim = False

    def __init__(self, default_model: Callable[[], str], *, stream: bool) -> None:
        self._default_model = default_model
        self._stream = stream

    def ask(self, body: bytes, operation: Operation, model: str | None) -> Ask:
        fields = read_fields(body)
        message = fields.pop("message", None)
        if message is None:
            raise InvalidRequest("missing required parameter: 'message'", param="message")
        try:
            text = _string.decode(message)
        except UNREADABLE as exc:
            raise InvalidRequest("'message' must be a string", param="message") from exc
        fields["messages"] = msgspec.Raw(msgspec.json.encode([{"role": "user", "content": text}]))
        fields.setdefault("model", encode_string(self._default_model()))
        fields.pop("stream", None)
        if self._stream:
            fields["stream"] = TRUE
        return read_ask(msgspec.json.encode(fields), operation)

    def answer(self, body: bytes) -> bytes:
        return msgspec.json.encode(_Response(_text(body)))

    def event(self, event: bytes) -> bytes | None:
        data = event_data(event)
        if data is None or data == b"[DONE]":
            return event
        text = _text(data)
        return data_event(msgspec.json.encode(_Response(text))) if text else None

    def status(self, error: GatewayError) -> int:
        return error.status

    def error(self, error: GatewayError) -> bytes:
        return error_body(error)

    def error_event(self, error: GatewayError) -> bytes:
        return data_event(error_body(error))


def _text(chunk: bytes) -> str:
    """The text of the first choice of an answer or a chunk; empty when it has none."""
    try:
        choices = _choices.decode(chunk).choices
    except UNREADABLE:
        return ""
    said = (choices[0].message or choices[0].delta) if choices else None
    return (said.content if said else None) or ""
