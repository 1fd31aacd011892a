"""The only mutable numbers of the fleet: who is busy, how healthy, how loaded.

Everything here changes between two awaits of one event loop. A reload keeps the numbers of
every replica that stays.
"""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.auth.keys import IssuedRing
from gateway.engines.adapter import Load
from gateway.errors import EngineOverloaded, GatewayError
from gateway.fleet.catalog import Catalog, Replica, Variant, seed_of
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
from gateway.fleet.loadable import Loadable, having
from gateway.fleet.prefix_index import PrefixIndex
from gateway.fleet.sent import Sent
from gateway.fleet.shown import shown
from gateway.fleet.target import Target
from gateway.wire.prefix import BLOCK_BYTES, NO_PREFIX, Prefix

if TYPE_CHECKING:
    from gateway.fleet.promptness import Onset

# of those that discovery knows better than probes
_CONDITIONS: Final = {
    Standing.NOT_READY: Condition.UNHEALTHY,
    Standing.TERMINATING: Condition.DRAINING,
    Standing.GONE: Condition.DRAINING,
}
_STANDINGS: Final = {
    Standing.SERVING: Reason.RETURNED,
    Standing.NOT_READY: Reason.NOT_READY,
    Standing.TERMINATING: Reason.TERMINATING,
    Standing.GONE: Reason.GONE,
}
# how much of what is usual the last answer makes up
_NEWS: Final = 0.1
_TOKEN_BYTES: Final = 4  # of a prompt's JSON, about, in most languages and for code


class ReplicaState:
    """One replica as it is now; a `ReplicaView` for the routing policies.

    `turns` is how often it was picked, divided by its weight; `others` the requests that it
    reported and that are not ours, 0 when unknown; `running` and `waiting` are what it reported,
    None when unknown, and so is `tokens_counted`, those read and written since its start.
    `is_usable`: whether it may be picked now. `is_unreachable`: it is out, and no connection to
    it can be made, so that what is silent there will hardly speak again.
    `prefilling` is how many blocks of our own prompts it has yet to compute, where the policy reads
    prompts; `seed` is a number drawn from its address, the same in every process.
    `era` counts its ejections, so that what began before the last one is not held against it.
    `most` is how many of our requests it is to have at once, as `target` says; `was_full`: that
    many were there when another came, since the last probe. `on_free` is called whenever a
    request of ours has ended there, while others wait. `usual_s` is how long answers take, 0
    while none has been seen. `adapters` are those that it has; `shown` is what clients are told
    of it.
    """

    __slots__ = (
        "adapters",
        "awaits_trial",
        "era",
        "health",
        "in_flight",
        "is_load_known",
        "is_unreachable",
        "is_usable",
        "kv_cache_tokens",
        "kv_cache_used_ratio",
        "most",
        "name",
        "on_free",
        "others",
        "prefilling",
        "prefixes",
        "processes",
        "reason",
        "record",
        "replica",
        "running",
        "seed",
        "sendings",
        "serves_in_panic",
        "shown",
        "target",
        "tokens_counted",
        "trial",
        "turns",
        "usual_s",
        "variant",
        "waiting",
        "was_full",
        "weight",
    )

    def __init__(self, variant: Variant, replica: Replica, processes: int = 1) -> None:
        self.variant = variant
        self.replica = replica
        self.name = replica.name
        self.shown = shown(variant, replica)
        self.weight = replica.weight
        self.in_flight = 0
        self.turns = 0.0
        self.others = 0.0
        self.running: float | None = None
        self.waiting: float | None = None
        self.prefilling = 0
        self.prefixes = PrefixIndex()
        self.sendings = Sent()
        self.processes = processes
        self.seed = seed_of(replica.key)
        self.kv_cache_used_ratio: float | None = None
        self.kv_cache_tokens: int | None = None
        self.tokens_counted: float | None = None
        self.is_load_known = False
        # what discovery finds is asked before it gets requests
        self.health = Health(Condition.LOADING) if replica.is_found else Health()
        self.record = Record()
        self.reason: Reason | None = None
        self.era = 0
        self.trial: Lease | None = None
        self.awaits_trial = False
        self.serves_in_panic = False
        self.is_unreachable = False
        self.is_usable = True
        self.target = Target(replica.concurrency, processes)
        self.most = self.target.most
        self.was_full = False
        self.usual_s = 0.0
        self.adapters = Loadable()
        self.on_free: Callable[[ReplicaState], None] | None = None

    @property
    def condition(self) -> Condition:
        return _CONDITIONS.get(self.replica.standing) or self.health.condition

    @property
    def is_member(self) -> bool:
        """Whether it is to get requests, so far as discovery knows."""
        return self.replica.standing is Standing.SERVING

    @property
    def load(self) -> float:
        """Requests there: our own, and those of others."""
        return self.in_flight + self.others

    @property
    def sent(self) -> float:
        """Blocks of prompts that we sent there to compute, of late."""
        return self.sendings.blocks

    @property
    def is_shared(self) -> bool:
        """Whether others send there, as far as is known."""
        return self.processes > 1 or self.others > 0

    def known_blocks(self, blocks: Sequence[int]) -> int:
        """How many blocks of a prompt, from its beginning, are likely in its KV cache."""
        return self.prefixes.matched(blocks)

    def has_seen(self, key: int) -> bool:
        """Whether we sent something there that has this key."""
        return key in self.prefixes

    def adopt(self, variant: Variant, replica: Replica, processes: int) -> None:
        """Take over a changed configuration of the same replica."""
        self.variant, self.replica = variant, replica
        self.name, self.weight = replica.name, replica.weight
        self.processes = processes
        self.shown = shown(variant, replica)
        if not self.target.is_for(replica.concurrency, processes):
            self.target = Target(replica.concurrency, processes)
            self.most = self.target.most

    def answered(self, took_s: float) -> None:
        """An answer is whole."""
        known = self.usual_s
        self.usual_s = known + (took_s - known) * _NEWS if known else took_s

    def set_trial(self, trial: "Lease | None") -> None:
        """The request that tries this replica out now; None: there is none."""
        self.trial = trial
        self.settle_use()

    def settle_use(self) -> None:
        """Work out again whether this replica may be picked."""
        health = self.health
        self.awaits_trial = health.is_on_trial and self.trial is None
        self.is_usable = self.is_member and (
            health.is_usable or self.awaits_trial or self.serves_in_panic
        )


class Lease:
    """A request's place on a replica. Released exactly once, however often it is asked.

    `prefix`: what its prompt begins with, where the policy reads that. `since_s` is set where
    answers are to be timed, `onset` where their first tokens are.
    """

    __slots__ = ("_is_held", "_prefilling", "era", "onset", "since_s", "state")

    def __init__(self, state: ReplicaState, prefix: Prefix = NO_PREFIX) -> None:
        self.state = state
        self._prefilling = 0
        if prefix.blocks:
            self._prefilling = len(prefix.blocks) - state.prefixes.matched(prefix.blocks)
            state.prefilling += self._prefilling
            state.prefixes.add(prefix)
            state.sendings.add(self._prefilling)
        self.era = state.era
        self.since_s: float | None = None
        self.onset: Onset | None = None
        self._is_held = True
        state.in_flight += 1
        state.turns += 1 / state.weight
        if state.awaits_trial:
            state.set_trial(self)

    def began(self) -> None:
        """The first token is there, so the prompt is computed."""
        if self.onset is not None:
            self.onset.began()
            self.onset = None
        if self._prefilling:
            self.state.prefilling -= self._prefilling
            self._prefilling = 0

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            if self.onset is not None:
                self.onset.gone()
                self.onset = None
            self.began()
            state = self.state
            state.in_flight -= 1
            if state.trial is self:
                state.set_trial(None)
            if state.on_free is not None:
                state.on_free(state)


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
