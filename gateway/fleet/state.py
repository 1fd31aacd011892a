"""The only mutable numbers of the fleet: who is busy, how healthy, how loaded.

Everything here changes between two awaits of one event loop. A reload keeps the numbers of
every replica that stays.
"""

from collections.abc import Collection, Iterator, Sequence

from gateway.auth.keys import IssuedRing
from gateway.engines.adapter import Load
from gateway.fleet.catalog import Catalog, Replica, Variant
from gateway.fleet.health import Condition, Health, after_probe


class ReplicaState:
    """One replica as it is now; a `ReplicaView` for the routing policies.

    `turns` is how often it was picked, divided by its weight; `others` the requests that it
    reported and that are not ours, 0 when unknown.
    """

    __slots__ = (
        "health",
        "in_flight",
        "kv_cache_tokens",
        "kv_cache_used_ratio",
        "name",
        "others",
        "replica",
        "turns",
        "variant",
        "weight",
    )

    def __init__(self, variant: Variant, replica: Replica) -> None:
        self.variant = variant
        self.replica = replica
        self.name = replica.name
        self.weight = replica.weight
        self.in_flight = 0
        self.turns = 0.0
        self.others = 0.0
        self.kv_cache_used_ratio: float | None = None
        self.kv_cache_tokens: int | None = None
        self.health = Health()

    @property
    def load(self) -> float:
        """Requests there: our own, and those of others."""
        return self.in_flight + self.others

    def adopt(self, variant: Variant, replica: Replica) -> None:
        """Take over a changed configuration of the same replica."""
        self.variant, self.replica = variant, replica
        self.name, self.weight = replica.name, replica.weight


class Lease:
    """A request's place on a replica. Released exactly once, however often it is asked."""

    __slots__ = ("_is_held", "state")

    def __init__(self, state: ReplicaState) -> None:
        self.state = state
        self._is_held = True
        state.in_flight += 1
        state.turns += 1 / state.weight

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            self.state.in_flight -= 1


class FleetState:
    """The states of all replicas of the catalog that serves now."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._states: dict[tuple[str, str], ReplicaState] = {}
        self._by_variant: dict[str, tuple[ReplicaState, ...]] = {}
        self.apply(catalog)

    def __iter__(self) -> Iterator[ReplicaState]:
        return iter(self._states.values())

    def apply(self, catalog: Catalog) -> None:
        """Serve this catalog from now on."""
        before, self._states, self._by_variant = self._states, {}, {}
        for model in catalog.models.values():
            for variant in model.variants:
                states = tuple(
                    self._adopted(before, variant, replica) for replica in variant.replicas
                )
                self._by_variant[variant.name] = states
                _start_level(states)
        self.catalog = catalog

    def serve_issued(self, issued: IssuedRing) -> None:
        """Keys made at run time have changed."""
        self.catalog = self.catalog.with_issued(issued)

    def candidates(
        self, variant: Variant, tried: Collection[ReplicaState], *, only_usable: bool
    ) -> Sequence[ReplicaState]:
        """The replicas of a variant that may be picked and were not tried.

        Probes can be wrong: when no usable one is left anywhere, the others are asked as well.
        """
        states = self._by_variant.get(variant.name, ())
        if only_usable:
            return [s for s in states if s.health.is_usable and s not in tried]
        return [s for s in states if s not in tried]

    def has_usable(self, variant: Variant) -> bool:
        return any(state.health.is_usable for state in self._by_variant.get(variant.name, ()))

    def probed(self, state: ReplicaState, seen: Condition, load: Load) -> bool:
        """Record what a probe saw. True when the replica's condition has changed."""
        before = state.health
        state.health = after_probe(before, seen)
        known = (load.running or 0.0) + (load.waiting or 0.0)
        state.others = max(0.0, known - state.in_flight)
        state.kv_cache_used_ratio = load.kv_cache_used_ratio
        state.kv_cache_tokens = load.kv_cache_tokens
        if state.health.is_usable and not before.is_usable:
            _start_level(self._by_variant.get(state.variant.name, ()))
        return state.health.condition is not before.condition

    def _adopted(
        self, before: dict[tuple[str, str], ReplicaState], variant: Variant, replica: Replica
    ) -> ReplicaState:
        key = (variant.name, replica.key)
        state = before.get(key)
        if state is None:
            state = ReplicaState(variant, replica)
        else:
            state.adopt(variant, replica)
        self._states[key] = state
        return state


def _start_level(states: Sequence[ReplicaState]) -> None:
    """Lift newcomers to the turns of the busiest, so that they are not flooded to catch up."""
    highest = max((state.turns for state in states), default=0.0)
    for state in states:
        if state.turns < highest - 1:
            state.turns = highest
