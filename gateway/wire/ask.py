"""Read what the gateway needs from the top level of a request body; the rest stays bytes.

The body is parsed once and always encoded again from that parse, so the gateway and the engine
can never disagree about a duplicated key (the last one counts, for both). Values are not
validated beyond what routing needs: that is the engine's work, in the engine's words.
"""

from enum import StrEnum
from typing import TypeVar

import msgspec

from gateway.errors import InvalidRequest

Fields = dict[str, msgspec.Raw]

TRUE = msgspec.Raw(b"true")

T = TypeVar("T")


class Operation(StrEnum):
    """What is asked for, in the GenAI semantic conventions' words."""

    CHAT = "chat"
    COMPLETION = "text_completion"
    EMBEDDINGS = "embeddings"
    GENERATE = "generate_content"


# field that must be there, what it must begin with, in words
_CONTENT: dict[Operation, tuple[str, tuple[bytes, ...], str]] = {
    Operation.CHAT: ("messages", (b"[",), "an array of messages"),
    Operation.COMPLETION: ("prompt", (b'"', b"["), "a string or an array"),
    Operation.EMBEDDINGS: ("input", (b'"', b"["), "a string or an array"),
    Operation.GENERATE: ("inputs", (b'"',), "a string"),
}
# engines' other ways of giving the same content
_INSTEAD = {Operation.COMPLETION: "prompt_embeds", Operation.EMBEDDINGS: "messages"}


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What we read from a call.

    `fields` is the top level of the body, values undecoded; `model` "" means that the path
    names the model. `max_tokens` is the smallest limit the client set, None if it set none.
    """

    operation: Operation
    model: str
    stream: bool
    fields: Fields
    body_bytes: int
    include_usage: bool = False
    max_tokens: int | None = None
    n: int = 1

    def edited(self, changes: dict[str, msgspec.Raw | None]) -> bytes:
        """The body with some fields replaced, or removed where the change is None."""
        fields = self.fields | {k: v for k, v in changes.items() if v is not None}
        for name, value in changes.items():
            if value is None:
                fields.pop(name, None)
        return msgspec.json.encode(fields)


_top = msgspec.json.Decoder(Fields)
_options: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])
_boolean: msgspec.json.Decoder[bool] = msgspec.json.Decoder(bool)
_integer: msgspec.json.Decoder[int] = msgspec.json.Decoder(int)
_string = msgspec.json.Decoder(str)


def read_ask(body: bytes, operation: Operation, *, model: str | None = None) -> Ask:
    """Raises InvalidRequest, with `param` where a field is to blame.

    `model` is given where the path or the gateway's default names it.
    """
    fields = read_fields(body)
    name = _model(fields) if model is None else model
    content, starts, words = _CONTENT[operation]
    value = fields.get(content)
    if value is None:
        if _INSTEAD.get(operation) not in fields:
            raise InvalidRequest(f"missing required parameter: '{content}'", param=content)
    elif memoryview(value)[:1] not in starts:
        raise InvalidRequest(f"'{content}' must be {words}", param=content)
    stream = _read(_boolean, fields, "stream", "a boolean") if "stream" in fields else None
    options = _read(_options, fields, "stream_options", "an object") if stream else None
    return Ask(
        operation=operation,
        model=name,
        stream=bool(stream),
        fields=fields,
        body_bytes=len(body),
        include_usage=options is not None and _includes_usage(options),
        max_tokens=_max_tokens(fields),
        n=(_read(_integer, fields, "n", "an integer") or 1) if "n" in fields else 1,
    )


def encode_string(text: str) -> msgspec.Raw:
    """A JSON string."""
    return msgspec.Raw(msgspec.json.encode(text))


def read_fields(body: bytes) -> Fields:
    """The top level of a JSON object, values undecoded. Raises InvalidRequest."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            raise InvalidRequest(f"the body is not valid UTF-8 at byte {exc.start}") from exc
    try:
        return _top.decode(body)
    except msgspec.ValidationError as exc:
        raise InvalidRequest("the body must be a JSON object") from exc
    except msgspec.DecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}") from exc
    except RecursionError as exc:
        raise InvalidRequest("the body is nested too deeply") from exc


def _model(fields: Fields) -> str:
    raw = fields.get("model")
    if raw is None:
        raise InvalidRequest("missing required parameter: 'model'", param="model")
    try:
        name = _string.decode(raw)
    except msgspec.DecodeError as exc:
        raise InvalidRequest("'model' must be a string", param="model") from exc
    if not name:
        raise InvalidRequest("'model' must not be empty", param="model")
    return name


def _includes_usage(options: dict[str, object]) -> bool:
    asked = options.get("include_usage")
    if asked is not None and not isinstance(asked, bool):
        raise InvalidRequest("'include_usage' must be a boolean", param="stream_options")
    return asked is True


def _max_tokens(fields: Fields) -> int | None:
    new = _read(_integer, fields, "max_completion_tokens", "an integer")
    old = _read(_integer, fields, "max_tokens", "an integer")
    if new is None or old is None:
        return old if new is None else new
    return min(old, new)


def _read(decoder: msgspec.json.Decoder[T], fields: Fields, name: str, words: str) -> T | None:
    raw = fields.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as exc:
        raise InvalidRequest(f"'{name}' must be {words}", param=name) from exc
