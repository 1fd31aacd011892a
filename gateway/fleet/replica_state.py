"""One replica as it is now, and a request's place on it.

Everything here changes between two awaits of one event loop.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from gateway.fleet.catalog import Replica, Variant, seed_of
from gateway.fleet.discovery.endpoint import Standing
from gateway.fleet.health import Condition, Health, Reason, Record
from gateway.fleet.loadable import Loadable
from gateway.fleet.prefix_index import PrefixIndex
from gateway.fleet.sent import Sent
from gateway.fleet.shown import shown
from gateway.fleet.target import Target
from gateway.wire.prefix import NO_PREFIX, Prefix

if TYPE_CHECKING:
    from gateway.fleet.promptness import Onset

# of those that discovery knows better than probes
_CONDITIONS: Final = {
    Standing.NOT_READY: Condition.UNHEALTHY,
    Standing.TERMINATING: Condition.DRAINING,
    Standing.GONE: Condition.DRAINING,
}
# how much of what is usual the last answer makes up
_NEWS: Final = 0.1


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
