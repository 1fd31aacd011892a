"""Any server that speaks OpenAI's API as it is written. The other adapters start from here."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar

import msgspec

from gateway.engines.adapter import (
    Answer,
    AnswerStream,
    Load,
    ReadHeader,
    Served,
    Shown,
    State,
)
from gateway.engines.assembled_shapes import Blank
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg, Way
from gateway.engines.openai_errors import (
    name_failure,
    read_error_field,
    read_words,
    retry_after_s,
)
from gateway.engines.openai_shapes import read_listing, read_summary
from gateway.engines.openai_stream import OpenAiStream
from gateway.errors import EngineFault, GatewayError
from gateway.wire.ask import TRUE, Ask, Operation, encode_string
from gateway.wire.http import Headers, UpstreamRequest
from gateway.wire.unreadable import UNREADABLE
from gateway.wire.usage import read_usage

PATHS: Mapping[Operation, str] = MappingProxyType(
    {
        Operation.CHAT: "/v1/chat/completions",
        Operation.COMPLETION: "/v1/completions",
        Operation.EMBEDDINGS: "/v1/embeddings",
    }
)

PATH_OF_MODELS = "/v1/models"
_REFUSED = (401, 403)
_NOTHING = Blank()
_WITH_USAGE = msgspec.Raw(b'{"include_usage":true}')
_top = msgspec.json.Decoder(dict[str, msgspec.Raw])
_options = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class OpenAiAdapter:
    """The API as OpenAI documents it."""

    kind: ClassVar[str] = "openai"
    operations: ClassVar[frozenset[Operation]] = frozenset(PATHS)
    health_path: ClassVar[str] = PATH_OF_MODELS
    models_path: ClassVar[str | None] = None
    load_path: ClassVar[str | None] = None
    finish_reasons: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def prepare(
        self, ask: Ask, served: Served, request_id: str, kept: Kept | None = None
    ) -> UpstreamRequest:
        changes = self.changes(ask)
        if kept is not None and kept.with_ids:
            changes["return_token_ids"] = TRUE
        changes["model"] = encode_string(served.adapter or served.model)
        return post(PATHS[ask.operation], ask.edited(changes), served, request_id)

    def changes(self, ask: Ask) -> dict[str, msgspec.Raw | None]:
        """The fields that this kind of engine needs otherwise than the client sent them."""
        if not ask.stream or ask.include_usage or ask.operation is Operation.EMBEDDINGS:
            return {}
        options = ask.fields.get("stream_options")
        if options is None:
            return {"stream_options": _WITH_USAGE}
        given = _options.decode(options) or {}
        return {"stream_options": msgspec.Raw(msgspec.json.encode(given | {"include_usage": TRUE}))}

    def hindrance(self, ask: Ask) -> Why | None:
        return Why.ENGINE

    def keep(self, ask: Ask) -> Kept:
        return Kept()

    def next_leg(self, ask: Ask, kept: Kept, avoided: Collection[Way]) -> Leg | Why:
        return Why.ENGINE

    def refusal(self, status: int, body: bytes, retry_after: bytes | None) -> GatewayError:
        return name_failure(read_words(body), status, retry_after_s(retry_after))

    def answer(self, ask: Ask, body: bytes, header: ReadHeader, shown: Shown) -> Answer:
        try:
            if not body.isascii():
                body.decode()  # what is not looked at below reaches the client as it is
            summary = read_summary(body)
        except UNREADABLE as exc:
            raise EngineFault("the engine's answer could not be read") from exc
        if bytes(summary.error) != b"null":
            raise self.error_event(bytes(summary.error))
        changes: dict[str, msgspec.Raw] = {}
        if summary.model != shown.model:
            changes["model"] = encode_string(shown.model)
        if summary.id == "":
            changes["id"] = encode_string(shown.id)
        renamed = False
        for choice in summary.choices:
            reason = choice.finish_reason
            if reason == "abort":
                raise EngineFault("the engine stopped before the answer was complete")
            if reason is not None and reason in self.finish_reasons:
                choice.finish_reason = self.finish_reasons[reason]
                renamed = True
        if changes or renamed:
            reasons = [choice.finish_reason for choice in summary.choices] if renamed else None
            body = _edited_answer(body, changes, reasons)
        reason = summary.choices[0].finish_reason if summary.choices else None
        return Answer(body, read_usage(summary.usage), reason)

    def stream(self, ask: Ask, shown: Shown, kept: Kept | None = None) -> AnswerStream:
        return OpenAiStream(ask, shown, self.error_event, self.finish_reasons, kept)

    def blank(self, operation: Operation) -> Blank:
        return _NOTHING

    def error_event(self, error: bytes) -> GatewayError:
        """The failure that the `error` field of an event or a 200 body names."""
        words = read_error_field(error)
        return name_failure(words, words.status or 500, None)

    def state(self, status: int, body: bytes) -> State:
        if status in _REFUSED and self.health_path == PATH_OF_MODELS:
            return State.CREDENTIALS_REFUSED
        return State.READY if status == 200 else State.UNHEALTHY

    def model_state(self, status: int, body: bytes, model: str) -> State:
        if status in _REFUSED:
            return State.CREDENTIALS_REFUSED
        if status != 200:
            return State.READY
        try:
            listing = read_listing(body)
        except UNREADABLE:
            return State.READY
        is_there = any(listed.id == model for listed in listing.data)
        return State.READY if is_there else State.MODEL_MISSING

    def listed_adapters(self, body: bytes) -> frozenset[str] | None:
        return None

    def load_adapter(
        self, name: str, path: str, served: Served, request_id: str
    ) -> UpstreamRequest | None:
        return None

    def unload_adapter(self, name: str, served: Served, request_id: str) -> UpstreamRequest | None:
        return None

    def load(self, body: bytes) -> Load:
        return Load()


def is_set(ask: Ask, name: str) -> bool:
    """Whether the client sent a field, and not as null."""
    value = ask.fields.get(name)
    return value is not None and bytes(value) != b"null"


def post(path: str, body: bytes, served: Served, request_id: str) -> UpstreamRequest:
    """A request as every engine takes it. Nothing of the client's own headers."""
    own = ((b"x-request-id", request_id.encode()),)
    return UpstreamRequest("POST", path, own, body, fixed_headers(served.api_key))


@lru_cache(256)
def fixed_headers(api_key: str | None) -> Headers:
    """What is the same in every request to an engine that asks for this key."""
    kind = (b"content-type", b"application/json")
    if api_key is None:
        return (kind,)
    return (kind, (b"authorization", b"Bearer " + api_key.encode()))


def _edited_answer(
    body: bytes, changes: Mapping[str, msgspec.Raw], finish_reasons: list[str | None] | None
) -> bytes:
    fields = _top.decode(body) | dict(changes)
    if finish_reasons is not None:
        choices = msgspec.json.decode(fields["choices"], type=list[dict[str, msgspec.Raw]])
        for choice, reason in zip(choices, finish_reasons, strict=True):
            choice["finish_reason"] = msgspec.Raw(msgspec.json.encode(reason))
        fields["choices"] = msgspec.Raw(msgspec.json.encode(choices))
    return msgspec.json.encode(fields)
