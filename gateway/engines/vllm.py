"""vLLM: OpenAI's API with habits of its own.

It says `finish_reason: "abort"` and then `[DONE]` when it is killed, sends 200 before it has
validated, and uses ints for error codes (handled where every engine's errors are read). Older
versions name some metrics otherwise. The `guided_*` fields of old are ignored in silence since
0.12, so they are sent as the `structured_outputs` that took their place.

Source: vLLM 0.32 on the wire; metric names of 0.9 to 0.33.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec
from typing_extensions import override

from gateway.engines import leg
from gateway.engines.adapter import Load, Served
from gateway.engines.assembled_shapes import Blank
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg, Way
from gateway.engines.openai import PATH_OF_MODELS, OpenAiAdapter, is_set, post
from gateway.engines.openai_errors import read_words
from gateway.engines.openai_shapes import read_listing
from gateway.engines.prometheus import Samples
from gateway.errors import EngineRefused, GatewayError
from gateway.wire.ask import TRUE, Ask, Operation
from gateway.wire.http import UpstreamRequest
from gateway.wire.unreadable import UNREADABLE

_NULL = msgspec.Raw(b"null")


def _nulls(*names: str) -> Mapping[str, msgspec.Raw]:
    return MappingProxyType(dict.fromkeys(names, _NULL))


_GUIDED: Mapping[str, str] = MappingProxyType(
    {
        "guided_json": "json",
        "guided_regex": "regex",
        "guided_choice": "choice",
        "guided_grammar": "grammar",
        "guided_whitespace_pattern": "whitespace_pattern",
    }
)
_CONTINUES: Mapping[str, msgspec.Raw] = MappingProxyType(
    {"continue_final_message": TRUE, "add_generation_prompt": msgspec.Raw(b"false")}
)
_ALWAYS = (
    "service_tier",
    "system_fingerprint",
    "kv_transfer_params",
    "ec_transfer_params",
    "metrics",
)
_USAGE = _nulls("prompt_tokens_details", "completion_tokens_details")
_BLANK_CHAT = Blank(
    answer=_nulls(*_ALWAYS, "prompt_logprobs", "prompt_token_ids", "prompt_text"),
    choice=_nulls("token_ids", "routed_experts"),
    message=_nulls("refusal", "annotations", "audio", "function_call", "reasoning"),
    usage=_USAGE,
    has_null_content=True,
)
_BLANK_COMPLETION = Blank(
    answer=_nulls(*_ALWAYS),
    choice=_nulls("token_ids", "prompt_token_ids", "prompt_logprobs", "routed_experts"),
    usage=_USAGE,
)
_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USED = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_CACHE = "vllm:cache_config_info"
_SLEEP = "vllm:engine_sleep_state"


class VllmAdapter(OpenAiAdapter):
    """vLLM's OpenAI server."""

    kind: ClassVar[str] = "vllm"
    health_path: ClassVar[str] = "/health"
    models_path: ClassVar[str | None] = PATH_OF_MODELS
    load_path: ClassVar[str | None] = "/metrics"
    finish_reasons = MappingProxyType({"repetition": "stop"})

    @override
    def changes(self, ask: Ask) -> dict[str, msgspec.Raw | None]:
        changes = super().changes(ask)
        if ask.fields.keys().isdisjoint(_GUIDED):
            return changes
        guided = {new: ask.fields[old] for old, new in _GUIDED.items() if is_set(ask, old)}
        if guided and "structured_outputs" not in ask.fields:
            changes["structured_outputs"] = msgspec.Raw(msgspec.json.encode(guided))
            changes |= dict.fromkeys(_GUIDED)
        return changes

    @override
    def hindrance(self, ask: Ask) -> Why | None:
        return leg.hindrance(ask)

    @override
    def keep(self, ask: Ask) -> Kept:
        asked = bytes(ask.fields.get("return_token_ids", b"null"))
        # it shows nothing that may yet turn out to begin a stop string
        hold = max(0, leg.longest_stop(ask) - 1)
        return Kept(with_ids=True, hides_ids=asked != b"true", hold=hold)

    @override
    def next_leg(self, ask: Ask, kept: Kept, avoided: Collection[Way]) -> Leg | Why:
        why = Why.NO_WAY
        for way, ids in ((Way.CHAT_IDS, leg.chat_ids), (Way.COMPLETION_IDS, leg.completion_ids)):
            if way not in avoided:
                found = ids(ask, kept)
                if isinstance(found, Leg):
                    return found
                why = found
        if Way.TEXT in avoided or not kept.hides_ids:
            return why
        return leg.text(ask, kept, leg.trimmed(ask, kept), _CONTINUES, continues=_continues(ask))

    @override
    def blank(self, operation: Operation) -> Blank:
        return _BLANK_CHAT if operation is Operation.CHAT else _BLANK_COMPLETION

    @override
    def refusal(self, status: int, body: bytes, retry_after: bytes | None) -> GatewayError:
        if status == 404 and not read_words(body).message:
            # a route that this model's task does not have: FastAPI's own {"detail": "Not Found"}
            return EngineRefused("this model does not support this operation", status=404)
        return super().refusal(status, body, retry_after)

    @override
    def listed_adapters(self, body: bytes) -> frozenset[str] | None:
        try:
            listing = read_listing(body)
        except UNREADABLE:
            return None
        return frozenset(one.id for one in listing.data if one.parent is not None)

    @override
    def load_adapter(
        self, name: str, path: str, served: Served, request_id: str
    ) -> UpstreamRequest | None:
        body = msgspec.json.encode({"lora_name": name, "lora_path": path})
        return post("/v1/load_lora_adapter", body, served, request_id)

    @override
    def unload_adapter(self, name: str, served: Served, request_id: str) -> UpstreamRequest | None:
        body = msgspec.json.encode({"lora_name": name})
        return post("/v1/unload_lora_adapter", body, served, request_id)

    @override
    def load(self, body: bytes) -> Load:
        samples = Samples(body, (_RUNNING, _WAITING, *_KV_USED, _CACHE, _SLEEP))
        return Load(
            running=samples.total(_RUNNING),
            waiting=samples.total(_WAITING),
            kv_cache_used_ratio=samples.largest(*_KV_USED),
            kv_cache_tokens=_kv_cache_tokens(samples),
            asleep=any(
                value > 0 and labels.get("sleep_state") != "awake"
                for labels, value in samples.labels(_SLEEP)
            ),
        )


def _continues(ask: Ask) -> bool:
    return bytes(ask.fields.get("continue_final_message", b"false")) == b"true"


def _kv_cache_tokens(samples: Samples) -> int | None:
    """The capacity that vLLM publishes as a label (0.24 and newer), over its engines."""
    sizes = [labels.get("kv_cache_size_tokens", "") for labels, _ in samples.labels(_CACHE)]
    return sum(int(size) for size in sizes if size.isdecimal()) or None
