"""Follows every discovery of the configuration, and lets the fleet serve what it finds.

One look-up runs for each `discovery:` that is written, however many variants have the same. It
goes on over reloads; a changed one is a new one, and what the old one had found serves until the
new one knows better. What is new is probed before it gets requests. What is gone while requests
of ours run there is shown as `draining` until they have ended.
"""

import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import anyio

from gateway.clock import Clock
from gateway.config import discovery as config
from gateway.fleet.catalog import Variant
from gateway.fleet.discovery import Opener
from gateway.fleet.discovery.endpoint import Discovery, Endpoint, Standing, Surroundings
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

log = logging.getLogger(__name__)

FIRST_ANSWER_S: Final = 10.0
_LOOK_EVERY_S: Final = 1.0
_AFTER_BUG_S: Final = 5.0

Probe = Callable[[Sequence[ReplicaState]], Coroutine[object, object, None]]


@dataclass(frozen=True, slots=True)
class Standings:
    """How the look-up of one variant's replicas goes.

    `age_s` since what serves was last known to be so; None: never yet. `failing`: why it fails
    now. `endpoints`: what was found, by standing.
    """

    variant: Variant
    kind: str
    looked_up: str
    age_s: float | None
    failing: str | None
    endpoints: Mapping[Standing, int]

    @property
    def state(self) -> str:
        """In a word."""
        if self.failing is not None:
            return "failing"
        return "waiting" if self.age_s is None else "ok"


class Discoveries:
    """The discoveries of one process. `kinds`: how each kind is opened."""

    def __init__(
        self,
        fleet: FleetState,
        kinds: Mapping[str, Opener],
        around: Surroundings,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._fleet = fleet
        self._kinds = kinds
        self._around = around
        self._failures = metrics.discovery_failures
        self._clock = clock
        self._watches: dict[config.Discovery, _Watch] = {}
        self._group: TaskGroup | None = None
        self._probe: Probe | None = None
        self.follow()

    def follow(self) -> None:
        """Another catalog serves: begin what is new, end what is left out."""
        wanted = dict.fromkeys(given for _, given in self._variants())
        for given in [one for one in self._watches if one not in wanted]:
            self._watches.pop(given).end()
        for given in wanted:
            if given not in self._watches:
                opened = self._kinds[given.kind](given, self._around)
                watch = self._watches[given] = _Watch(self, given, opened, self._clock)
                if self._group is not None:
                    self._group.start_soon(watch.run)
            else:
                self.serve(self._watches[given])

    async def run(self, probe: Probe) -> None:
        """Until cancelled. `probe` looks at replicas that are new."""
        async with anyio.create_task_group() as self._group:
            self._probe = probe
            for watch in self._watches.values():
                self._group.start_soon(watch.run)
            while True:
                await anyio.sleep(_LOOK_EVERY_S)
                self._see_off()

    async def first_answers(self, within_s: float = FIRST_ANSWER_S) -> None:
        """Wait until each has found something out, or for so long."""
        with anyio.move_on_after(within_s):
            for watch in [*self._watches.values()]:
                await watch.has_answered.wait()

    def standings(self) -> Iterator[Standings]:
        """Of every variant that has a discovery."""
        for variant, given in self._variants():
            watch = self._watches[given]
            age_s = None if watch.sure_s is None else self._clock.now_s() - watch.sure_s
            found: dict[Standing, int] = {}
            for endpoint in watch.endpoints or ():
                found[endpoint.standing] = found.get(endpoint.standing, 0) + 1
            yield Standings(variant, given.kind, given.told, age_s, watch.failing, found)

    def serve(self, watch: "_Watch") -> None:
        """Let the fleet have what a look-up has found."""
        for variant, given in self._variants():
            if given == watch.given and watch.endpoints is not None:
                self._serve(variant, watch.endpoints)

    def failed(self, watch: "_Watch") -> None:
        """Count a failure."""
        for variant, given in self._variants():
            if given == watch.given:
                self._failures.cell(variant.model, variant.name).add()

    def tell(self, watch: "_Watch") -> None:
        """Log that a look-up has begun to fail, or works."""
        for standing in self.standings():
            if standing.variant.discovery == watch.given:
                log.log(
                    logging.INFO if standing.failing is None else logging.WARNING,
                    F.DISCOVERY_STATE,
                    extra={
                        F.MODEL: standing.variant.model,
                        F.VARIANT: standing.variant.name,
                        F.STATE: standing.state,
                        F.REASON: standing.failing or "",
                        F.COUNT: sum(standing.endpoints.values()),
                    },
                )

    def _serve(self, variant: Variant, endpoints: Sequence[Endpoint]) -> None:
        there = {
            state.replica.key: state for state in self._fleet if state.variant.name == variant.name
        }
        found = [variant.replica_at(endpoint) for endpoint in endpoints]
        keys = {replica.key for replica in found}
        found += [
            replace(state.replica, standing=Standing.GONE)
            for key, state in there.items()
            if key not in keys and state.in_flight > 0
        ]
        if found == [state.replica for state in there.values()]:
            return
        self._fleet.found(variant, found)
        news = [
            one for one in self._fleet.replicas_of(variant.name) if one.replica.key not in there
        ]
        if news and self._group is not None and self._probe is not None:
            self._group.start_soon(self._probe, news)

    def _see_off(self) -> None:
        """Forget those that are gone and whose last request has ended."""
        ended = {
            state.variant.name
            for state in self._fleet
            if state.replica.standing is Standing.GONE and not state.in_flight
        }
        for variant, given in self._variants():
            if variant.name in ended:
                self._serve(variant, self._watches[given].endpoints or ())

    def _variants(self) -> Iterator[tuple[Variant, config.Discovery]]:
        for model in self._fleet.catalog.models.values():
            for variant in model.variants:
                if variant.discovery is not None and variant.of is None:
                    yield variant, variant.discovery


class _Watch:
    """One look-up, and what it has found; it is told by its discovery.

    `endpoints` None: nothing yet. `sure_s`: when they were last known to be right.
    """

    def __init__(
        self, owner: Discoveries, given: config.Discovery, discovery: Discovery, clock: Clock
    ) -> None:
        self.given = given
        self.has_answered = anyio.Event()
        self.endpoints: tuple[Endpoint, ...] | None = None
        self.sure_s: float | None = None
        self.failing: str | None = None
        self._owner = owner
        self._discovery = discovery
        self._clock = clock
        self._scope: anyio.CancelScope | None = None
        self._has_ended = False

    def end(self) -> None:
        """Look nothing up any more."""
        self._has_ended = True
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        with anyio.CancelScope() as self._scope:
            while not self._has_ended:
                try:
                    await self._discovery.run(self)
                except Exception:
                    # a discovery's own fault costs what it finds, not the gateway
                    log.exception(F.BUG)
                self.failed("the discovery itself is at fault: see the log")
                await anyio.sleep(_AFTER_BUG_S)

    def found(self, endpoints: Sequence[Endpoint]) -> None:
        is_first, self.endpoints = self.endpoints is None, tuple(endpoints)
        self._is_sure(is_news=is_first)
        self._owner.serve(self)
        self.has_answered.set()

    def confirmed(self) -> None:
        self._is_sure(is_news=False)

    def failed(self, reason: str) -> None:
        is_news, self.failing = self.failing != reason, reason
        self._owner.failed(self)
        if is_news:
            self._owner.tell(self)

    def _is_sure(self, *, is_news: bool) -> None:
        has_failed, self.failing = self.failing is not None, None
        self.sure_s = self._clock.now_s()
        if is_news or has_failed:
            self._owner.tell(self)
