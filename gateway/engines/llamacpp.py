"""llama.cpp's llama-server: OpenAI's API, with slots in place of a batch.

Requests beyond its slots wait in the server, so it is never overloaded, only slow; it says 503
while it loads its model. What it was built or started without (embeddings, say) is a 501.
Figures need its flag `--metrics`; without it the load is unknown and our own count decides.

Source: llama.cpp's server as it was recorded in tests/golden/transcripts.
"""

from collections.abc import Collection
from typing import ClassVar

from typing_extensions import override

from gateway.engines import leg
from gateway.engines.adapter import Load, State
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg, Way
from gateway.engines.openai import OpenAiAdapter, is_set
from gateway.engines.openai_errors import read_words, refused
from gateway.engines.prometheus import Samples
from gateway.errors import GatewayError
from gateway.wire.ask import Ask

_PROCESSING = "llamacpp:requests_processing"
_DEFERRED = "llamacpp:requests_deferred"


class LlamaCppAdapter(OpenAiAdapter):
    """llama-server."""

    kind: ClassVar[str] = "llamacpp"
    health_path: ClassVar[str] = "/health"
    load_path: ClassVar[str | None] = "/metrics"

    @override
    def hindrance(self, ask: Ask) -> Why | None:
        return Why.TOOLS if is_set(ask, "tools") else leg.hindrance(ask)

    @override
    def next_leg(self, ask: Ask, kept: Kept, avoided: Collection[Way]) -> Leg | Why:
        if Way.TEXT in avoided:
            return Why.NO_WAY
        # a last message of the assistant is the beginning of the answer, unasked
        return leg.text(ask, kept, leg.trimmed(ask, kept), {}, continues=True)

    @override
    def refusal(self, status: int, body: bytes, retry_after: bytes | None) -> GatewayError:
        if status == 501:
            return refused(read_words(body), 400)
        return super().refusal(status, body, retry_after)

    @override
    def state(self, status: int, body: bytes) -> State:
        return State.LOADING if status == 503 else super().state(status, body)

    @override
    def load(self, body: bytes) -> Load:
        samples = Samples(body, (_PROCESSING, _DEFERRED))
        return Load(running=samples.total(_PROCESSING), waiting=samples.total(_DEFERRED))
