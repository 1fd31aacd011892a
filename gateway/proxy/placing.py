"""Where a call goes next: a replica that has room, of a variant whose limits have room.

Variants come in the order of the route, those that rest after the others. Where all replicas of
one are busy the call waits for its turn there.
"""

import random
from collections.abc import Collection, Mapping
from typing import Final

from gateway.auth.keys import Caller
from gateway.clock import Clock
from gateway.engines.adapter import EngineAdapter
from gateway.errors import GatewayError, InvalidRequest, NoReplica, Overloaded, RateLimited
from gateway.fleet.catalog import Variant
from gateway.fleet.resting import Resting
from gateway.fleet.state import FleetState, Lease, ReplicaState
from gateway.limits.limiter import Limiter
from gateway.proxy.account import Account, Bookkeeper
from gateway.proxy.call import Call
from gateway.proxy.deadline import allowed_s
from gateway.queueing.queues import Queues
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import Route
from gateway.wire.ask import Ask
from gateway.wire.prefix import NO_PREFIX, Prefix, prefix_of, session_of

# whom to pass over, and whether only usable replicas will do; until somebody is found
_Rounds = tuple[tuple[Collection[ReplicaState], bool], ...]


class Search:
    """A call that is to be placed, perhaps more than once.

    `tried`: replicas that must not get it again. `passed`: variants that it must not wait for.
    """

    __slots__ = ("account", "ask", "call", "caller", "passed", "route", "tried")

    def __init__(
        self, call: Call, ask: Ask, caller: Caller, route: Route, account: Account
    ) -> None:
        self.call = call
        self.ask = ask
        self.caller = caller
        self.route = route
        self.account = account
        self.tried: list[ReplicaState] = []
        self.passed: list[Variant] = []


class Placing:
    """Finds places, and what they need: limits that are charged, and turns in line."""

    def __init__(
        self,
        *,
        fleet: FleetState,
        engines: Mapping[str, EngineAdapter],
        policies: Mapping[str, RoutingPolicy],
        books: Bookkeeper,
        limiter: Limiter,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._fleet = fleet
        self._engines = engines
        self._policies = policies
        self._books = books
        self._limiter = limiter
        self._clock = clock
        self._rng = rng
        self._resting: Final = Resting()
        self.queues: Final = Queues(
            fleet=fleet,
            policies=policies,
            resting=self._resting,
            clock=clock,
            rng=rng,
            told=books.turned_away,
        )

    def prefix(self, call: Call, ask: Ask, route: Route) -> Prefix:
        """What the prompt begins with, where any policy on the way wants to know."""
        for variant in route:
            if self._policies[variant.policy].reads_prefix:
                salt = b"" if variant.adapter is None else variant.adapter.name.encode()
                return prefix_of(ask, session_of(ask, call.session, variant.session), salt)
        return NO_PREFIX

    async def place(self, search: Search) -> Lease:
        """A place on a replica that was not tried. Raises why there is none.

        Where all of a variant are busy the call waits for one of them; where it must not, the
        variant is passed over. Raises NoReplica, Overloaded, RateLimited or LimiterDown.
        """
        while True:
            state = await self._reserved(search)
            if state is None:
                raise NoReplica(_nobody(search))
            if state.in_flight < state.most:
                return Lease(state, search.account.prefix)
            try:
                lease = await self._waited(search, state.variant)
            except Overloaded:
                search.passed.append(state.variant)
                if not self.is_any_left(search):
                    raise
            else:
                if lease is not None:
                    return lease

    def is_any_left(self, search: Search) -> bool:
        """Whether the call could go anywhere now, limits aside."""
        return self._pick(search, search.passed) is not None

    def beside(self, first: ReplicaState, search: Search) -> ReplicaState | None:
        """Another ready replica of the same variant with room, which has now been tried, too."""
        variant = first.variant
        shunned = (first, *search.tried, *self._resting.at(self._clock.now_s()))
        ready = self._fleet.candidates(variant, shunned, only_usable=True)
        states = [state for state in ready if state.in_flight < state.most]
        if not states:
            return None
        policy = self._policies[variant.policy]
        other = policy.pick(states, search.account.prefix, self._rng)
        search.tried.append(other)
        return other

    def failed(self, state: ReplicaState, failure: GatewayError) -> None:
        """A try there has failed; perhaps it is to be left alone for a while."""
        self._resting.failed(state, failure, self._clock.now_s())

    async def _reserved(self, search: Search) -> ReplicaState | None:
        """A replica whose limits have room for this call, and have been charged with it.

        A variant whose own limits are reached is passed over like one without replicas; the
        caller's own hold everywhere. Who is free may change while limits are asked, so a
        replica is picked afterwards.
        """
        account, ask, caller = search.account, search.ask, search.caller
        full = list(search.passed)
        if account.reservation is None and len(search.route) == 1:  # there is no choice to make
            (only,) = search.route
            account.reservation = await self._limiter.reserve(caller, only.engines, ask)
        while True:
            state = self._pick(search, full)
            before = account.reservation
            if state is None or (before is not None and before.covers(state.variant)):
                return state
            account.reservation = None
            variant = state.variant
            try:
                account.reservation = await self._limiter.reserve(caller, variant, ask, before)
            except RateLimited as limited:
                full.append(variant)
                if limited.is_for_key or self._pick(search, full) is None:
                    raise

    async def _waited(self, search: Search, variant: Variant) -> Lease | None:
        """A place on a replica of this variant, of which all are busy. Raises Overloaded.

        None: the call must look for a replica again.
        """
        call, account = search.call, search.account
        began_s = self._clock.now_s()
        try:
            place = await self.queues.wait(
                variant,
                search.caller,
                search.ask,
                account.prefix,
                waited_s=account.queued_s,
                left_s=call.received_s + allowed_s(call, search.route[0]) - began_s,
                tried=self._shunned(search),
                ticket=account.ticket,
            )
        finally:
            account.queued_s += self._clock.now_s() - began_s
            if not account.attempts:
                account.story.queue_s = account.queued_s
        account.ticket = place.ticket
        if place.lease is not None:
            self._books.waited(account, variant, search.caller.plan.priority)
        return place.lease

    def _shunned(self, search: Search) -> list[ReplicaState]:
        """Whom the call does not wait for: those it tried, and those without its adapter."""
        adapter = search.account.adapter
        if adapter is None:
            return search.tried
        return search.tried + [
            one
            for variant in search.route
            for one in self._fleet.replicas_of(variant.engines.name)
            if not one.adapters.may_load(adapter)
        ]

    def _pick(self, search: Search, full: Collection[Variant]) -> ReplicaState | None:
        """A replica of the first variant that has one left; ready ones anywhere come first.

        One with room, if any of the variant has room. `full`: variants to pass over.
        """
        operation = search.ask.operation
        is_possible = False
        rounds: _Rounds = ((search.tried, True), (search.tried, False))
        if self._resting.until_s:
            rounds = self._rounds_with_rest(search.tried)
        for shunned, only_usable in rounds:
            for variant in search.route:
                if operation not in self._engines[variant.engine].operations:
                    continue
                is_possible = True
                if full and variant.engines in full:
                    continue
                if states := self._fleet.candidates(variant, shunned, only_usable=only_usable):
                    policy, prefix = self._policies[variant.policy], search.account.prefix
                    state = policy.pick(states, prefix, self._rng)
                    if state.in_flight >= state.most:
                        roomy = [one for one in states if one.in_flight < one.most]
                        return policy.pick(roomy, prefix, self._rng) if roomy else state
                    return state
        if not is_possible:
            raise InvalidRequest(f"this model does not support {operation.value}")
        return None

    def _rounds_with_rest(self, tried: Collection[ReplicaState]) -> _Rounds:
        """Those that rest come after the others.

        For a call that was tried before, those that said for how long do not come at all.
        """
        now_s = self._clock.now_s()
        awake = ((*tried, *self._resting.at(now_s)), True)
        shunned = (*tried, *self._resting.at(now_s, only_told=True)) if tried else tried
        return (awake, (shunned, True), (shunned, False))


def _nobody(search: Search) -> str:
    adapter = search.account.adapter
    if adapter is None:
        return "no replica can take this call now"
    return f'no replica that has the adapter "{adapter.name}", or can load it, can take this call'
