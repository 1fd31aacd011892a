"""What is read at one moment, before anything is worked out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.live.view import KeysView
from gateway.telemetry.counted import Counted
from gateway.telemetry.metrics import Route
from gateway.telemetry.request_line import RequestLine


@dataclass(frozen=True, slots=True)
class ReplicaNow:
    """A replica as this worker sees it; the fields are those of `ReplicaView`."""

    route: Route
    engine: str
    condition: str
    reason: str | None
    usable: bool
    running: float | None
    waiting: float | None
    kv_cache_used_ratio: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """`now_s` is monotonic. `in_flight` and `usable_by`: sums over all workers, zeros left out."""

    now_s: float
    unix_s: float
    counted: Counted
    replicas: Sequence[ReplicaNow]
    in_flight: Mapping[Route, float]
    usable_by: Mapping[Route, float]
    workers: int
    draining: bool
    config_problems: Sequence[str]
    limits: KeysView
    failures: Sequence[RequestLine]
