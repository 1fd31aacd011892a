"""What the live page, `gateway top` and whoever reads `/admin/live` are told: one moment.

Rates and quantiles are of the last seconds (`window_s`), over all workers; they are null in the
first view that somebody gets after nobody has looked, when there is nothing to compare with.
Requests are counted when they end. Adding a field is no breaking change; renaming one is.
"""

import msgspec

from gateway.telemetry.request_line import RequestLine


class Quantiles(msgspec.Struct, frozen=True):
    """Of `count` values, in seconds. What is above the histogram's last bound shows that bound."""

    count: int
    p50_s: float
    p95_s: float
    p99_s: float


class Traffic(msgspec.Struct, frozen=True):
    """What ended in a second. `failures_per_s`: by the fault of an engine or of the gateway.

    `refused_per_s`: by the client's fault, limits included; `client_gone_per_s`: it left.
    `ttft` and `inter_token` null: no stream had content.
    """

    requests_per_s: float
    failures_per_s: float
    refused_per_s: float
    client_gone_per_s: float
    input_tokens_per_s: float
    output_tokens_per_s: float
    ttft: Quantiles | None
    inter_token: Quantiles | None


class ReplicaView(msgspec.Struct, frozen=True):
    """One replica; condition and what the engine reports are as the answering worker sees them.

    `usable_by`: for how many workers it may be picked. `in_flight`: the gateway's own requests,
    of all workers. `running` and `waiting`: what the engine reports, null when unknown.
    """

    replica: str
    engine: str
    condition: str
    reason: str | None
    usable: bool
    usable_by: int
    in_flight: int
    running: float | None
    waiting: float | None
    kv_cache_used_ratio: float | None
    traffic: Traffic | None


class VariantView(msgspec.Struct, frozen=True):
    """One variant, `variant` being the name that a client can ask for."""

    variant: str
    traffic: Traffic | None
    replicas: list[ReplicaView]


class ModelView(msgspec.Struct, frozen=True):
    """One model, its variants in the order of the configuration."""

    model: str
    traffic: Traffic | None
    variants: list[VariantView]


class LimitView(msgspec.Struct, frozen=True):
    """A limit of a key: `left` of `burst` can be used at once; `limit` as it is configured."""

    rule: str
    limit: int
    burst: int
    left: int


class KeyView(msgspec.Struct, frozen=True):
    """A key that has limits."""

    key: str
    plan: str
    limits: list[LimitView]


class KeysView(msgspec.Struct, frozen=True):
    """The keys that have the least left, first; `omitted` more have limits too.

    `store_state` other than ok: Redis is away, and levels are the answering worker's own;
    `unknown`: nobody could say in time.
    """

    store_state: str
    keys: list[KeyView]
    omitted: int


class View(msgspec.Struct, frozen=True):
    """One moment. `failures` are the answering worker's, the newest first, as they were logged."""

    time_unix_s: float
    window_s: float | None
    version: str
    workers: int
    draining: bool
    config_problems: list[str]
    in_flight: int
    total: Traffic | None
    models: list[ModelView]
    limits: KeysView
    failures: list[RequestLine]
