"""Views for whoever watches. While nobody does, nothing is read and nothing kept up to date.

All watchers of this process share one reading a second. What was read in the last seconds is
kept, so that a view compares with the oldest of it.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

import anyio
import msgspec

from gateway.clock import Clock
from gateway.fleet.state import FleetState
from gateway.live.compose import view_of
from gateway.live.levels import KeyLevels
from gateway.live.moment import Moment, ReplicaNow
from gateway.live.view import KeysView
from gateway.telemetry.cells import Labels
from gateway.telemetry.metrics import Metrics, Route
from gateway.telemetry.request_line import RequestLine

EVERY_S: Final = 1.0
_WINDOW_S: Final = 10.0
_LIMITS_EVERY_S: Final = 5.0

IN_FLIGHT: Final = "gateway_requests_in_flight"
USABLE_BY: Final = "gateway_replica_usable_workers"
WORKERS: Final = "gateway_workers"


class Serving(Protocol):
    """What the process says of itself."""

    is_draining: bool
    config_problems: tuple[str, ...]


class Failures(Protocol):
    """Calls that failed lately, as far as somebody remembers."""

    def newest(self) -> list[RequestLine]:
        """The newest first; some dozens at most, as all of it is in every view."""
        ...


class Live:
    """`levels` are asked every few seconds only."""

    def __init__(
        self,
        fleet: FleetState,
        metrics: Metrics,
        serving: Serving,
        failures: Failures,
        levels: KeyLevels,
        clock: Clock,
    ) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._serving = serving
        self._failures = failures
        self._levels = levels
        self._clock = clock
        self._lock = anyio.Lock()
        self._moments: deque[Moment] = deque(maxlen=2 * int(_WINDOW_S / EVERY_S))
        self._view = b""
        self._limits = KeysView(store_state="unknown", keys=[], omitted=0)
        self._limits_s = -_LIMITS_EVERY_S

    @property
    def is_over(self) -> bool:
        """The process drains: its watchers should go elsewhere."""
        return self._serving.is_draining

    async def view(self) -> bytes:
        """The `View` of now, as JSON; at most a second old."""
        async with self._lock:
            now_s = self._clock.now_s()
            if self._moments and now_s - self._moments[-1].now_s < 0.9 * EVERY_S:
                return self._view
            if now_s - self._limits_s >= _LIMITS_EVERY_S:
                self._limits = await self._levels.read()
                self._limits_s = now_s
            now = self._moment()
            while self._moments and now.now_s - self._moments[0].now_s > _WINDOW_S + EVERY_S / 2:
                self._moments.popleft()
            before = self._moments[0] if self._moments else None
            self._moments.append(now)
            self._view = msgspec.json.encode(view_of(before, now))
            return self._view

    def _moment(self) -> Moment:
        return Moment(
            now_s=self._clock.now_s(),
            unix_s=self._clock.unix_s(),
            counted=self._metrics.counted(),
            replicas=list(self._replicas()),
            in_flight=_by_route(self._metrics.level_sums(IN_FLIGHT)),
            usable_by=_by_route(self._metrics.level_sums(USABLE_BY)),
            workers=round(sum(self._metrics.level_sums(WORKERS).values())),
            draining=self._serving.is_draining,
            config_problems=self._serving.config_problems,
            limits=self._limits,
            failures=self._failures.newest(),
        )

    def _replicas(self) -> Iterator[ReplicaNow]:
        for state in self._fleet:
            yield ReplicaNow(
                route=(state.variant.model, state.variant.name, state.name),
                engine=state.variant.engine,
                condition=state.condition.value,
                reason=None if state.reason is None else state.reason.value,
                usable=state.is_usable,
                running=state.running,
                waiting=state.waiting,
                kv_cache_used_ratio=state.kv_cache_used_ratio,
            )


def _by_route(sums: dict[Labels, float]) -> dict[Route, float]:
    return {(labels[0], labels[1], labels[2]): value for labels, value in sums.items()}
