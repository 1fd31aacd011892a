"""Which variants may answer a call, in which order, as names, shares and load have it.

What is decided is in `routing`; here is what it is decided from, and what is remembered of it.
"""

import random
from typing import NamedTuple

from gateway.auth.keys import Caller
from gateway.clock import Clock
from gateway.config.choice import Choose
from gateway.fleet.catalog import Variant
from gateway.fleet.promptness import Onset, Promptness
from gateway.fleet.state import FleetState
from gateway.proxy.call import Call
from gateway.queueing.queues import Queues
from gateway.routing.asking import Asking
from gateway.routing.resolve import Resolved, Why, resolve
from gateway.routing.spill import Strain, by_excess, excess, own
from gateway.wire.ask import Ask


class Weighed(NamedTuple):
    """A variant as `spill` sees it. `excess` 0: within the thresholds."""

    variant: Variant
    strain: Strain
    excess: float


class Choosing:
    """Chooses variants, and knows how soon each begins to answer."""

    def __init__(
        self, *, fleet: FleetState, queues: Queues, clock: Clock, rng: random.Random
    ) -> None:
        self._fleet = fleet
        self._queues = queues
        self._clock = clock
        self._rng = rng
        self._promptness: dict[str, Promptness] = {}
        # variant and plan, whose thresholds may differ
        self._over: set[tuple[str, str]] = set()

    def resolved(self, call: Call, ask: Ask, caller: Caller) -> Resolved:
        """Raises ModelNotFound, ModelNotAllowed or TooFewBits."""
        catalog = self._fleet.catalog
        name = "" if caller is catalog.keys.anonymous else caller.name
        asking = Asking(caller.plan, self._rng, name, call.min_bits, ask, call.session)
        found = resolve(catalog, ask.model, asking)
        if found.spill is not None:
            self._spill(found, found.spill, caller.plan.name)
        return found

    def weighed(self, found: Resolved, plan: str) -> list[Weighed]:
        """The variants that load decides among, in the order in which they are preferred."""
        rules = found.spill
        if rules is None:
            return []
        return [self._weighed(variant, rules, plan) for variant in own(found.route)]

    def why(self, found: Resolved, variant: Variant) -> Why:
        """Why this variant answers."""
        return found.why_of(variant, first_is_usable=self._fleet.has_usable(found.first))

    def onset(self, variant: Variant) -> Onset:
        """A call is about to be sent to a variant whose first tokens are timed."""
        known = self._promptness.get(variant.name)
        if known is None:
            known = self._promptness[variant.name] = Promptness()
        return Onset(known, self._clock.now_s)

    def _spill(self, found: Resolved, rules: Choose, plan: str) -> None:
        excesses: list[float] = []
        for variant in own(found.route):
            one = self._weighed(variant, rules, plan)
            key = (variant.name, plan)
            if one.excess:
                self._over.add(key)
            else:
                self._over.discard(key)
            excesses.append(one.excess)
            if not one.excess:
                break  # nothing behind it can be better
        found.route = by_excess(found.route, excesses)

    def _weighed(self, variant: Variant, rules: Choose, plan: str) -> Weighed:
        strain = self._strain(variant)
        was_over = (variant.name, plan) in self._over
        return Weighed(variant, strain, excess(strain, rules, was_over=was_over))

    def _strain(self, variant: Variant) -> Strain:
        name = variant.engines.name
        states = [state for state in self._fleet.replicas_of(name) if state.is_usable]
        if not states:
            return Strain(is_usable=False)
        known = self._promptness.get(name)
        ttft_s = None if known is None else known.predicted_s(self._clock.now_s())
        if any(state.in_flight < state.most for state in states):
            return Strain(0, ttft_s)
        wait_s = self._queues.expected_s(name)
        if wait_s is not None:
            ttft_s = wait_s + (ttft_s or 0.0)
        return Strain(self._queues.waiting(name) + 1, ttft_s)
