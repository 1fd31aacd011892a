"""Text Generation Inference: OpenAI's API with habits of its own, and its own API beside it.

What TGI would misread is sent otherwise (`changes`), what it cannot do is refused before it
answers something else, and what it says is put into OpenAI's words. Its own API (`/generate`)
passes through; tokens are counted from its headers and from the details of the last event.

Source: TGI 3.3.7, router/src/{lib,server,chat}.rs.
"""

from collections.abc import Collection
from types import MappingProxyType
from typing import ClassVar

import msgspec
from typing_extensions import override

from gateway.engines import leg
from gateway.engines.adapter import Answer, AnswerStream, Load, ReadHeader, Served, Shown, State
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg, Way
from gateway.engines.openai import OpenAiAdapter, is_set, post
from gateway.engines.openai_errors import name_failure, read_error_field, read_words
from gateway.engines.prometheus import Samples
from gateway.engines.tgi_shapes import read_generated, read_response_format
from gateway.engines.tgi_stream import TgiNativeStream, TgiStream
from gateway.errors import EngineFault, GatewayError, InvalidRequest
from gateway.wire.ask import TRUE, Ask, Operation, encode_string
from gateway.wire.http import UpstreamRequest
from gateway.wire.unreadable import UNREADABLE
from gateway.wire.usage import Usage

# any other name is taken for a LoRA adapter's
_MODEL = "tgi"
_RUNNING = "tgi_batch_current_size"
_WAITING = "tgi_queue_size"
_USED = "tgi_batch_current_max_tokens"
_CAPACITY = "tgi_batch_max_total_tokens"
# TGI's own types do not take null here
_NEVER_NULL = ("stream", "stream_options")
_FAULT_WORDS = ("request failed during generation", "incomplete generation")


_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_number = msgspec.json.Decoder(float)
_string = msgspec.json.Decoder(str)


class TgiAdapter(OpenAiAdapter):
    """TGI's router."""

    kind: ClassVar[str] = "tgi"
    operations: ClassVar[frozenset[Operation]] = frozenset(
        (Operation.CHAT, Operation.COMPLETION, Operation.GENERATE)
    )
    health_path: ClassVar[str] = "/health"
    load_path: ClassVar[str | None] = "/metrics"
    finish_reasons = MappingProxyType({"eos_token": "stop", "stop_sequence": "stop"})

    @override
    def prepare(
        self, ask: Ask, served: Served, request_id: str, kept: Kept | None = None
    ) -> UpstreamRequest:
        if ask.operation is not Operation.GENERATE:
            named = Served(served.adapter or _MODEL, served.api_key)
            return super().prepare(ask, named, request_id, kept)
        changes: dict[str, msgspec.Raw | None] = {"model": None, "stream": None}
        if ask.stream or served.adapter is not None:
            changes["parameters"] = _asked(ask, served.adapter)
        path = "/generate_stream" if ask.stream else "/generate"
        return post(path, ask.edited(changes), served, request_id)

    @override
    def changes(self, ask: Ask) -> dict[str, msgspec.Raw | None]:
        changes: dict[str, msgspec.Raw | None] = {
            name: None for name in _NEVER_NULL if not is_set(ask, name)
        }
        changes |= super().changes(ask)
        if ask.n > 1:
            raise InvalidRequest("this model gives one choice only: leave out 'n'", param="n")
        changes["n"] = None
        _refuse_unless_neutral(ask, changes, "presence_penalty")
        _refuse_unless_neutral(ask, changes, "logit_bias")
        if is_set(ask, "stop") and bytes(ask.fields["stop"])[:1] == b'"':
            changes["stop"] = msgspec.Raw(msgspec.json.encode([_string.decode(ask.fields["stop"])]))
        if ask.max_tokens is not None:
            changes["max_tokens"] = msgspec.Raw(msgspec.json.encode(ask.max_tokens))
        changes["max_completion_tokens"] = None
        if is_set(ask, "response_format"):
            changes["response_format"] = _grammar(ask.fields["response_format"])
        return changes

    @override
    def refusal(self, status: int, body: bytes, retry_after: bytes | None) -> GatewayError:
        if status == 424:
            return EngineFault("the engine failed to answer")
        return super().refusal(400 if status == 422 else status, body, retry_after)

    @override
    def error_event(self, error: bytes) -> GatewayError:
        # TGI puts 422 into every such event, whatever the cause: only the words tell
        words = read_error_field(error)
        if words.message.lower().startswith(_FAULT_WORDS):
            return EngineFault("the engine failed to answer")
        return name_failure(words, 400 if words.status in (0, 422) else words.status, None)

    @override
    def answer(self, ask: Ask, body: bytes, header: ReadHeader, shown: Shown) -> Answer:
        if ask.operation is not Operation.GENERATE:
            return super().answer(ask, body, header, shown)
        try:
            generated = read_generated(body)
        except UNREADABLE as exc:
            raise EngineFault("the engine's answer could not be read") from exc
        reason = generated.details.finish_reason if generated.details else None
        return Answer(body, _usage(header), reason)

    @override
    def hindrance(self, ask: Ask) -> Why | None:
        return Why.TOOLS if is_set(ask, "tools") else leg.hindrance(ask)

    @override
    def next_leg(self, ask: Ask, kept: Kept, avoided: Collection[Way]) -> Leg | Why:
        if Way.TEXT in avoided:
            return Why.NO_WAY
        # it shows the beginning of a stop string before it knows
        begun = leg.begun_stop(kept.text.decode(), leg.stops_of(ask))
        return leg.text(ask, kept, leg.trimmed(ask, kept, begun), {}, continues=True)

    @override
    def stream(self, ask: Ask, shown: Shown, kept: Kept | None = None) -> AnswerStream:
        if ask.operation is Operation.GENERATE:
            return TgiNativeStream(self.native_error, shows_details=_asks_for_details(ask))
        return TgiStream(ask, shown, self.error_event, self.finish_reasons, kept)

    def native_error(self, event: bytes) -> GatewayError:
        """The failure in an error event of TGI's own API."""
        words = read_words(event)
        if words.type == "validation":
            return name_failure(words, 400, None)
        return name_failure(words, 429 if words.type == "overloaded" else 500, None)

    @override
    def state(self, status: int, body: bytes) -> State:
        return State.READY if status == 200 else State.UNHEALTHY

    @override
    def load(self, body: bytes) -> Load:
        samples = Samples(body, (_RUNNING, _WAITING, _USED, _CAPACITY))
        used, capacity = samples.total(_USED), samples.total(_CAPACITY)
        return Load(
            running=samples.total(_RUNNING),
            waiting=samples.total(_WAITING),
            kv_cache_used_ratio=min(1.0, used / capacity)
            if used is not None and capacity
            else None,
            kv_cache_tokens=int(capacity) if capacity else None,
        )


def _refuse_unless_neutral(ask: Ask, changes: dict[str, msgspec.Raw | None], name: str) -> None:
    """Leave out a field that TGI takes for something else, unless it would have an effect."""
    if is_set(ask, name) and not _is_neutral(ask.fields[name]):
        raise InvalidRequest(f"this model does not support '{name}': leave it out", param=name)
    changes[name] = None


def _is_neutral(value: msgspec.Raw) -> bool:
    if bytes(value) in (b"{}", b"[]"):
        return True
    try:
        return _number.decode(value) == 0
    except UNREADABLE:
        return False


def _grammar(given: msgspec.Raw) -> msgspec.Raw | None:
    """OpenAI's response format as TGI's; None for plain text."""
    try:
        wanted = read_response_format(given)
    except UNREADABLE as exc:
        raise InvalidRequest(
            "'response_format' must be an object with a 'type'", param="response_format"
        ) from exc
    if wanted.type == "text":
        return None
    if wanted.type == "json_schema" and bytes(wanted.json_schema) != b"null":
        renamed = {"type": msgspec.Raw(b'"json_schema"'), "value": wanted.json_schema}
        return msgspec.Raw(msgspec.json.encode(renamed))
    if wanted.type == "json_object" and bytes(wanted.value) == b"null":
        raise InvalidRequest(
            "this model needs a schema: use a response_format of type 'json_schema'",
            param="response_format",
        )
    return given


def _parameters(ask: Ask) -> dict[str, msgspec.Raw] | None:
    """The parameters of TGI's own API; None when they are no object."""
    if not is_set(ask, "parameters"):
        return {}
    try:
        return _object.decode(ask.fields["parameters"])
    except UNREADABLE:
        return None


def _asks_for_details(ask: Ask) -> bool:
    return bytes((_parameters(ask) or {}).get("details", b"false")) == b"true"


def _asked(ask: Ask, adapter: str | None) -> msgspec.Raw:
    """The parameters, with the adapter; and where it streams with details, which count tokens."""
    parameters = _parameters(ask)
    if parameters is None:
        return ask.fields["parameters"]  # the engine says what is wrong with them
    if adapter is not None:
        parameters |= {"adapter_id": encode_string(adapter)}
    if ask.stream:
        parameters |= {"details": TRUE}
    return msgspec.Raw(msgspec.json.encode(parameters))


def _usage(header: ReadHeader) -> Usage | None:
    prompt, completion = header(b"x-prompt-tokens"), header(b"x-generated-tokens")
    if prompt is None or completion is None or not (prompt.isdigit() and completion.isdigit()):
        return None
    return Usage(int(prompt), int(completion))
