"""The whole configuration file, as an operator writes it."""

from typing import Annotated

from pydantic import Field

from gateway.config.access import Key, Limits, Plan
from gateway.config.base import Number, Section
from gateway.config.models import Model, Seconds
from gateway.config.splits import Split
from gateway.config.telemetry import Telemetry

Bytes = Annotated[int, Field(ge=1024, le=1 << 32), Number]


class Retries(Section):
    """When a call may be tried again on another replica."""

    max_attempts: Annotated[int, Field(ge=1, le=10), Number] = Field(3, description="Tries in all.")
    backoff_s: Annotated[float, Field(ge=0, le=60), Number] = Field(
        0.05, description="Bound of the first wait; doubles with every try."
    )
    max_backoff_s: Annotated[float, Field(ge=0, le=300), Number] = Field(
        2, description="The largest bound of a wait."
    )
    budget_ratio: Annotated[float, Field(ge=0, le=1), Number] = Field(
        0.2,
        description="Retries that a model may make in 10 s, as a share of its requests in them.",
    )
    budget_floor: Annotated[int, Field(ge=0, le=100_000), Number] = Field(
        10, description="How many it may make in 10 s in any case, in each worker."
    )
    after_timeout: bool = Field(
        False, description="Also when an engine was silent, where the work may still be running."
    )


class Health(Section):
    """When a replica that fails gets no requests for a while, though its probes are fine."""

    consecutive_failures: Annotated[int, Field(ge=1, le=1000), Number] = Field(
        5, description="Failed tries in a row after which a replica is ejected."
    )
    consecutive_timeouts: Annotated[int, Field(ge=1, le=1000), Number] = Field(
        2, description="The same for tries that ended in `first_byte_s` or `idle_s`."
    )
    ejection_s: Annotated[float, Field(ge=0.1, le=3600), Number] = Field(
        30, description="How long the first ejection lasts; doubles with every further one."
    )
    max_ejection_s: Annotated[float, Field(ge=0.1, le=86_400), Number] = Field(
        300, description="The longest ejection."
    )
    panic_ratio: Annotated[float, Field(ge=0, le=1), Number] = Field(
        0.5,
        description="No replica is ejected where less than this share of a variant would be left; "
        "where probes leave less, the ejected serve as well.",
    )


class Server(Section):
    """Bounds of what clients send and get."""

    max_body_bytes: Bytes = Field(32 * 1024 * 1024, description="The largest request body.")
    body_read_s: Seconds = Field(
        30, description="How long headers, and then a body, may take to arrive."
    )
    heartbeat_s: Seconds = Field(
        15, description="Comments keep a stream alive while the engine is silent."
    )
    write_stall_s: Seconds = Field(60, description="How long a client may read nothing.")
    drain_grace_s: Seconds = Field(30, description="How long running calls may go on at shutdown.")
    max_event_bytes: Bytes = Field(16 * 1024 * 1024, description="The largest event of a stream.")
    max_answer_bytes: Bytes = Field(64 * 1024 * 1024, description="The largest whole answer.")
    routing_headers: bool = Field(
        True,
        description="Answers name who gave them, in `x-gateway-model`, `x-gateway-variant` and "
        "`x-gateway-replica`.",
    )


class Cors(Section):
    """Browsers on other sites."""

    allow_origins: tuple[str, ...] = Field(
        (), description="Origins that may call from a browser, or `*`; none by default."
    )


class Document(Section):
    """The configuration file of the gateway."""

    models: tuple[Model, ...] = Field(min_length=1, description="What clients can ask for.")
    splits: tuple[Split, ...] = Field(
        (), description="Names whose calls are split between models or variants."
    )
    retries: Retries = Field(Retries(), description="Trying again elsewhere.")
    health: Health = Field(Health(), description="Ejecting replicas that fail.")
    plans: tuple[Plan, ...] = Field((), description="What callers may use.")
    keys: tuple[Key, ...] | None = Field(
        None,
        description="Who may call. Absent: no key is asked for, and a warning is logged. "
        "An empty list: only keys that were made at run time.",
    )
    limits: Limits = Field(Limits(), description="Where limits are counted.")
    server: Server = Field(Server(), description="Bounds and deadlines towards clients.")
    cors: Cors = Field(Cors(), description="Calls from browsers.")
    telemetry: Telemetry = Field(Telemetry(), description="Traces, and stories of requests.")
