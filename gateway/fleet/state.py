"""The only mutable numbers of the fleet: who is busy, how healthy, how loaded.

Everything here changes between two awaits of one event loop. A reload keeps the numbers of
every replica that stays.
"""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from gateway.auth.keys import IssuedRing
from gateway.engines.adapter import Load
from gateway.errors import EngineOverloaded, GatewayError
from gateway.fleet.catalog import Catalog, Replica, Variant
from gateway.fleet.discovery.endpoint import Standing
from gateway.fleet.gradient import Signal
from gateway.fleet.health import (
    Condition,
    Health,
    HealthRules,
    Reason,
    Record,
    Sign,
    after_failed_trial,
    after_probe,
    ejected,
    is_due,
    is_panic,
    may_eject,
    on_trial,
    readmitted,
    reason_for,
    sign_of,
    stands_out,
    why_eject,
)
from gateway.fleet.loadable import having
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.wire.prefix import BLOCK_BYTES

_STANDINGS: Final = {
    Standing.SERVING: Reason.RETURNED,
    Standing.NOT_READY: Reason.NOT_READY,
    Standing.TERMINATING: Reason.TERMINATING,
    Standing.GONE: Reason.GONE,
}
_TOKEN_BYTES: Final = 4  # of a prompt's JSON, about, in most languages and for code


def _tell_nobody(_: ReplicaState) -> None:
    """For fleets whose changes nobody wants to know."""


def _wake_nobody(_: str) -> None:
    """For fleets that nobody waits for."""


class FleetState:
    """The states of all replicas of the catalog that serves now.

    `tell` is called after every change of a replica's condition. `on_room` is called with the
    name of a variant that may have room for more requests, other than by the end of one.
    `processes`: how many share the configured targets, this one included.
    """

    def __init__(
        self,
        catalog: Catalog,
        rules: HealthRules | None = None,
        rng: random.Random | None = None,
        tell: Callable[[ReplicaState], None] = _tell_nobody,
        processes: int = 1,
    ) -> None:
        self.catalog = catalog
        self.processes = processes
        self.on_room: Callable[[str], None] = _wake_nobody
        self.rules = rules or HealthRules()
        self._rng = rng or random.Random()
        self._tell = tell
        self._states: dict[tuple[str, str], ReplicaState] = {}
        self._by_variant: dict[str, tuple[ReplicaState, ...]] = {}
        self.apply(catalog)

    def __iter__(self) -> Iterator[ReplicaState]:
        return iter(self._states.values())

    def apply(self, catalog: Catalog) -> None:
        """Serve this catalog from now on."""
        before, known = self._states, self._by_variant
        self._states, self._by_variant = {}, {}
        for model in catalog.models.values():
            for variant in model.variants:
                if variant.of is not None:
                    continue  # it has no replicas of its own
                replicas = variant.replicas
                if variant.discovery is not None:  # whoever is there stays until it says otherwise
                    replicas = tuple(
                        state.replica for (name, _), state in before.items() if name == variant.name
                    )
                self._serve(before, variant, replicas)
        self.catalog = catalog
        for name in known:
            self.on_room(name)

    def found(self, variant: Variant, replicas: Iterable[Replica]) -> None:
        """All replicas of a variant, as discovery knows them now."""
        before = self._states
        self._states = {key: one for key, one in before.items() if key[0] != variant.name}
        self._serve(before, variant, replicas)
        self.on_room(variant.name)

    def _serve(
        self,
        before: dict[tuple[str, str], ReplicaState],
        variant: Variant,
        replicas: Iterable[Replica],
    ) -> None:
        states = [self._adopted(before, variant, replica) for replica in replicas]
        for state in states:
            state.sendings.share(states[0].sendings.calls)
        # whoever is not to get requests is no sibling of those that are
        members = tuple(state for state in states if state.is_member)
        self._by_variant[variant.name] = members
        _start_level(members)
        self._settle_use(members)

    def serve_issued(self, issued: IssuedRing) -> None:
        """Keys made at run time have changed."""
        self.catalog = self.catalog.with_issued(issued)

    def candidates(
        self, variant: Variant, tried: Collection[ReplicaState], *, only_usable: bool
    ) -> Sequence[ReplicaState]:
        """The replicas of a variant that may be picked and were not tried.

        Probes can be wrong: when no usable one is left anywhere, the others are asked as well.
        """
        if variant.of is not None and variant.adapter is not None:
            base = self.candidates(variant.of, tried, only_usable=only_usable)
            return having(base, variant.adapter)
        states = self._by_variant.get(variant.name, ())
        if only_usable:
            return [s for s in states if s.is_usable and s not in tried]
        return [s for s in states if s not in tried]

    def replicas_of(self, variant: str) -> Sequence[ReplicaState]:
        """Those of a variant, by its name; none where it is not served any more."""
        return self._by_variant.get(variant, ())

    def serves(self, variant: str) -> bool:
        """Whether there is a variant of this name now, with replicas or without."""
        return variant in self._by_variant

    def has_usable(self, variant: Variant) -> bool:
        states = self._by_variant.get(variant.engines.name, ())
        return any(state.is_usable for state in states)

    def probed(
        self,
        state: ReplicaState,
        seen: Condition,
        load: Load,
        now_s: float,
        reason: Reason | None = None,
        ours: float | None = None,
        *,
        is_unreachable: bool = False,
    ) -> bool:
        """Record what a probe saw. True when the replica's condition has changed.

        `reason`: why it saw that, where the condition alone does not tell. `ours`: how many of
        the requests that the engine counted may be ours; None: those of now. `is_unreachable`:
        no connection could be made.
        """
        state.running, state.waiting = load.running, load.waiting
        state.is_load_known = load.running is not None
        known = (load.running or 0.0) + (load.waiting or 0.0)
        state.others = max(0.0, known - (state.in_flight if ours is None else ours))
        state.kv_cache_used_ratio = load.kv_cache_used_ratio
        state.kv_cache_tokens = load.kv_cache_tokens
        state.tokens_counted = load.tokens_counted
        if load.kv_cache_tokens is not None:
            room = load.kv_cache_tokens * _TOKEN_BYTES // BLOCK_BYTES
            state.prefixes.capacity = max(1, room)
        state.target.probed(
            load, state.in_flight if ours is None else ours, was_reached=state.was_full
        )
        state.most, state.was_full = state.target.most, False
        health = after_probe(state.health, seen, now_s)
        state.is_unreachable = is_unreachable and not health.looks_well
        has_changed = self._change(state, health, reason or reason_for(health))
        self.on_room(state.variant.name)
        return has_changed

    def gone(self, state: ReplicaState) -> None:
        """Nobody listens there any more, which is no fault where the variant may wake."""
        self._change(state, replace(state.health, probed=Condition.AWAY, failures=0), Reason.AWAY)

    def put_to_sleep(self, state: ReplicaState) -> None:
        """It is about to sleep: what is sent there now would have to wait."""
        self._change(
            state, replace(state.health, probed=Condition.ASLEEP, failures=0), Reason.ASLEEP
        )

    def observed(self, lease: Lease, failure: GatewayError | None, now_s: float) -> None:
        """An attempt is over: None means that it answered."""
        state = lease.state
        if failure is None:
            state.record.add_success()
            if state.health.ejection is not None and lease.era == state.era:
                self._change(state, readmitted(state.health, now_s), Reason.TRIAL_PASSED)
            return
        if isinstance(failure, EngineOverloaded):
            state.target.refused(state.in_flight, now_s)
            state.most = state.target.most
        sign = sign_of(failure)
        if sign is None or lease.era != state.era or not state.is_member:
            return
        state.record.add_failure(sign)
        if state.health.ejection is None:
            reason = why_eject(state.record, sign, self.rules)
            if reason is not None:
                self._eject(state, reason, now_s)
        elif state.health.is_on_trial:
            health = after_failed_trial(state.health, sign, self.rules, now_s, self._rng)
            self._leave(state, health)

    def timed(self, lease: Lease, signal: Signal, took_s: float, now_s: float) -> None:
        """An answer, for targets that go by how long those take."""
        state = lease.state
        state.target.measured(signal, took_s, state.in_flight + 1, now_s)
        state.most = state.target.most
        self.on_room(state.variant.name)

    def due(self, now_s: float) -> list[ReplicaState]:
        """The ejected replicas that look well and whose time is over: to be tried out."""
        states = self._states.values()
        return [state for state in states if state.is_member and is_due(state.health, now_s)]

    def tested(self, state: ReplicaState, sign: Sign | None, now_s: float) -> None:
        """We have tried out one that was due: None means that nothing speaks against it."""
        if not is_due(state.health, now_s):
            return  # a client's request, or a restart, was faster
        if sign is None:
            self._change(state, on_trial(state.health), Reason.TIME_UP)
        else:
            health = after_failed_trial(state.health, sign, self.rules, now_s, self._rng)
            self._leave(state, health)

    def compare(self, now_s: float) -> None:
        """Eject replicas that fail much more often than their siblings; every few seconds."""
        for states in self._by_variant.values():
            for state in states if len(states) > 1 else ():
                others = [s.record for s in states if s is not state and s.health.is_usable]
                if state.health.is_usable and stands_out(state.record, others):
                    self._eject(state, Reason.SUCCESS_RATE, now_s)
            for state in states:
                state.record.fade()

    def _eject(self, state: ReplicaState, reason: Reason, now_s: float) -> None:
        siblings = self._by_variant.get(state.variant.name, ())
        others = [(s.health, s.record) for s in siblings if s is not state]
        if may_eject(reason, others, self.rules):
            self._leave(state, ejected(state.health, reason, self.rules, now_s, self._rng))

    def _leave(self, state: ReplicaState, health: Health) -> None:
        state.era += 1
        state.record = Record()
        state.prefixes.clear()  # it may have started anew
        self._change(state, health, reason_for(health), is_news=True)

    def _change(
        self, state: ReplicaState, health: Health, reason: Reason, *, is_news: bool = False
    ) -> bool:
        """True when the condition is another one; `is_news`: told in any case."""
        before = state.health
        if health == before:
            return False
        state.health = health
        siblings = self._by_variant.get(state.variant.name, ())
        if health.is_usable and not before.is_usable:
            _start_level(siblings)
        self._settle_use(siblings)
        self.on_room(state.variant.name)
        if not state.is_member or (health.condition is before.condition and not is_news):
            return False
        state.reason = reason
        self._tell(state)
        return True

    def _settle_use(self, states: Sequence[ReplicaState]) -> None:
        panics = is_panic([state.health for state in states], self.rules)
        for state in states:
            state.serves_in_panic = panics and state.health.may_serve_in_panic
            state.settle_use()

    def _adopted(
        self, before: dict[tuple[str, str], ReplicaState], variant: Variant, replica: Replica
    ) -> ReplicaState:
        key = (variant.name, replica.key)
        state = before.get(key)
        if state is None:
            state = ReplicaState(variant, replica, self.processes)
            if not state.is_member:
                self._stand(state, state.replica.standing)
        else:
            was = state.replica.standing
            state.adopt(variant, replica, self.processes)
            if replica.standing is not was:
                self._stand(state, replica.standing)
        self._states[key] = state
        return state

    def _stand(self, state: ReplicaState, standing: Standing) -> None:
        """Discovery has changed its mind about a replica."""
        state.settle_use()
        state.reason = _STANDINGS[standing]
        self._tell(state)


def _start_level(states: Sequence[ReplicaState]) -> None:
    """Lift newcomers to the turns of the busiest, so that they are not flooded to catch up."""
    highest = max((state.turns for state in states), default=0.0)
    for state in states:
        if state.turns < highest - 1:
            state.turns = highest
