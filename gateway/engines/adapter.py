"""What differs between engines: one adapter for each kind, pure, registered by name.

An adapter turns a call into the engine's request, and what the engine answers into OpenAI's
words: its errors into ours, its streams and bodies into what a client of OpenAI expects. It
also knows where the engine tells how it is.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import msgspec

from gateway.engines.assembled_shapes import Blank
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg, Way
from gateway.errors import GatewayError
from gateway.wire.ask import Ask, Operation
from gateway.wire.http import UpstreamRequest
from gateway.wire.usage import Usage

ReadHeader = Callable[[bytes], bytes | None]


class Served(msgspec.Struct, frozen=True, gc=False):
    """What the engine must be told: the model's name there, and our key for it (None: none).

    `adapter`: the LoRA adapter that is asked for instead, by its name there.
    """

    model: str
    api_key: str | None = None
    adapter: str | None = None


class Shown(msgspec.Struct, frozen=True, gc=False):
    """What the client must see: the model it asked for, and an id where the engine gives none."""

    model: str
    id: str
    created: int


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer, ready for the client. `finish_reason` None: the operation has none."""

    body: bytes
    usage: Usage | None
    finish_reason: str | None = None


class AnswerStream(Protocol):
    """Reads the events of one streamed answer and says what the client gets to see.

    `failure` is set by an event that proves that the answer is broken (an error, an abort, an
    end without a finish); what `event` returned until then is good.
    """

    failure: GatewayError | None

    @property
    def usage(self) -> Usage | None: ...

    @property
    def finish_reason(self) -> str | None: ...

    @property
    def content_events(self) -> int: ...

    @property
    def is_complete(self) -> bool: ...

    def event(self, event: bytes) -> bytes | None:
        """The bytes for the client in place of this event; None when it gets nothing."""
        ...

    def end(self) -> bytes | None:
        """What closes the client's stream when the engine's has ended; sets `failure` if broken."""
        ...


class State(StrEnum):
    """What an engine says of itself."""

    READY = "ready"
    LOADING = "loading"
    UNHEALTHY = "unhealthy"
    ASLEEP = "asleep"
    MODEL_MISSING = "model_missing"
    CREDENTIALS_REFUSED = "credentials_refused"


@dataclass(frozen=True, slots=True)
class Load:
    """An engine's own figures; None is unknown.

    `kv_cache_used_ratio` is 0 to 1; `kv_cache_tokens` the whole capacity.
    """

    running: float | None = None
    waiting: float | None = None
    kv_cache_used_ratio: float | None = None
    kv_cache_tokens: int | None = None
    asleep: bool = False


class EngineAdapter(Protocol):
    """One kind of engine.

    `models_path` is where it lists the names that it answers to; None: it answers to others, too.
    """

    kind: ClassVar[str]
    operations: ClassVar[frozenset[Operation]]
    health_path: ClassVar[str]
    models_path: ClassVar[str | None]
    load_path: ClassVar[str | None]

    def prepare(
        self, ask: Ask, served: Served, request_id: str, kept: Kept | None = None
    ) -> UpstreamRequest:
        """The engine's request for this call. Raises InvalidRequest for what it cannot do.

        `kept`: the answer is to be kept, so what a resume needs is asked for.
        """
        ...

    def hindrance(self, ask: Ask) -> Why | None:
        """Why an answer to this call could never be resumed; None: it may be possible."""
        ...

    def keep(self, ask: Ask) -> Kept:
        """What is kept of an answer that may be resumed, empty."""
        ...

    def next_leg(self, ask: Ask, kept: Kept, avoided: Collection[Way]) -> Leg | Why:
        """How another engine of this kind goes on with an answer; not by the `avoided` ways."""
        ...

    def refusal(self, status: int, body: bytes, retry_after: bytes | None) -> GatewayError:
        """The failure behind an answer whose status is not 2xx."""
        ...

    def answer(self, ask: Ask, body: bytes, header: ReadHeader, shown: Shown) -> Answer:
        """A 2xx body as the client gets it. Raises a GatewayError when it is no whole answer.

        `header` gives a header of the engine's answer by its name in lower case.
        """
        ...

    def stream(self, ask: Ask, shown: Shown, kept: Kept | None = None) -> AnswerStream:
        """A fresh reader for one streamed answer, which it adds to what is `kept`."""
        ...

    def blank(self, operation: Operation) -> Blank:
        """What its whole answers say and its streams do not."""
        ...

    def state(self, status: int, body: bytes) -> State:
        """What the answer at `health_path` says."""
        ...

    def model_state(self, status: int, body: bytes, model: str) -> State:
        """What the answer at `models_path` says of a model. READY unless it surely is missing."""
        ...

    def listed_adapters(self, body: bytes) -> frozenset[str] | None:
        """The LoRA adapters that the answer at `models_path` lists. None: it does not tell."""
        ...

    def load_adapter(
        self, name: str, path: str, served: Served, request_id: str
    ) -> UpstreamRequest | None:
        """The request that has it load an adapter. None: this kind of engine cannot."""
        ...

    def unload_adapter(self, name: str, served: Served, request_id: str) -> UpstreamRequest | None:
        """The request that has it unload one. None: this kind of engine cannot."""
        ...

    def load(self, body: bytes) -> Load:
        """What the answer at `load_path` says. Never raises: what cannot be read is unknown."""
        ...
