"""Where a call goes next: a replica that has room, of a variant whose limits have room.

Variants come in the order of the route, those that rest after the others. Where all replicas of
one are busy the call waits for its turn there. Where no replica of any can be used, but the engines
of one may come back, it waits for those; whoever passes over such a variant wants it as well.
"""

import random
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from typing import Final

from gateway.auth.keys import Caller
from gateway.clock import Clock
from gateway.engines.adapter import EngineAdapter
from gateway.errors import (
    EngineUnreachable,
    GatewayError,
    InvalidRequest,
    NoReplica,
    Overloaded,
    RateLimited,
)
from gateway.fleet.catalog import Variant
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.resting import Resting
from gateway.fleet.state import FleetState
from gateway.fleet.waking import Wanted, is_away
from gateway.limits.limiter import Limiter
from gateway.proxy.account import Account, Bookkeeper
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.deadline import allowed_s
from gateway.proxy.heartbeats import Heartbeats
from gateway.proxy.relay import STREAM_HEAD
from gateway.queueing.queues import Queues
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import Resolved, Route
from gateway.routing.spill import behind, own
from gateway.wire.ask import Ask
from gateway.wire.prefix import NO_PREFIX, Prefix, prefix_of, session_of

# whom to pass over, and whether only usable replicas will do; until somebody is found
_Rounds = tuple[tuple[Collection[ReplicaState], bool], ...]


class Search:
    """A call that is to be placed, perhaps more than once.

    `tried`: replicas that must not get it again. `passed`: variants that it must not wait for.
    `impatient`: names of those that it has waited for long enough, while others are there.
    """

    __slots__ = (
        "account", "ask", "call", "caller", "client", "impatient", "passed", "resolved", "route",
        "tried",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        ask: Ask,
        caller: Caller,
        resolved: Resolved,
        account: Account,
        client: Client,
    ) -> None:
        self.call = call
        self.client = client
        self.ask = ask
        self.caller = caller
        self.resolved = resolved
        self.route = resolved.route
        self.impatient: tuple[str, ...] = ()
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
        heartbeat_s: float,
    ) -> None:
        """`heartbeat_s`: how often a stream that is held says that it is still there."""
        self._fleet = fleet
        self._engines = engines
        self._policies = policies
        self._books = books
        self._limiter = limiter
        self._clock = clock
        self._rng = rng
        self._heartbeat_s = heartbeat_s
        self._resting: Final = Resting()
        self.wanted: Final = Wanted()
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

        Where all of a variant are busy or away the call waits for one of them; where it must not,
        the variant is passed over. Raises NoReplica, Overloaded, RateLimited or LimiterDown.
        """
        while True:
            state = await self._reserved(search)
            if state is None:
                lease = await self._woken(search)
                if lease is not None:
                    return lease
                continue
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
        return self._is_left(search, search.passed)

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
        """A try there has failed; perhaps it is to be left alone for a while, or is not there."""
        if is_gone(state, failure):
            self._fleet.gone(state)
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
            try:
                await self._charge(search, state.variant)
            except RateLimited as limited:
                full.append(state.variant)
                if limited.is_for_key or not self._is_left(search, full):
                    raise

    async def _woken(self, search: Search) -> Lease | None:
        """A place on a replica of a variant that was away. Raises why there is none.

        None: the call must look for a replica again.
        """
        variant = self._first_away(search, search.passed)
        if variant is None:
            raise NoReplica(_nobody(search))
        self.wanted.want(variant, self._clock.now_s())
        # what was tried there is gone; what comes back is another engine
        search.tried = [state for state in search.tried if state.variant.name != variant.name]
        try:
            await self._charge(search, variant)
            with self._beating(search):
                return await self._waited(search, variant, held=True)
        except (Overloaded, RateLimited) as refused:
            search.passed.append(variant)
            is_final = isinstance(refused, RateLimited) and refused.is_for_key
            if is_final or not self.is_any_left(search):
                raise
            return None

    async def _charge(self, search: Search, variant: Variant) -> None:
        """Hold what the call may use of this variant. Raises RateLimited or LimiterDown."""
        account = search.account
        before = account.reservation
        if before is None or not before.covers(variant):
            account.reservation = None
            account.reservation = await self._limiter.reserve(
                search.caller, variant, search.ask, before
            )

    def _beating(self, search: Search) -> Heartbeats | nullcontext[None]:
        """While a call is held: a stream's client is told that we are still here."""
        if not search.ask.stream:
            return nullcontext()
        reservation = search.account.reservation
        limits = () if reservation is None else reservation.headers
        head = ((b"x-request-id", search.call.request_id.encode()), *limits, *STREAM_HEAD)
        return Heartbeats(search.client, head, self._heartbeat_s)

    async def _waited(
        self, search: Search, variant: Variant, *, held: bool = False
    ) -> Lease | None:
        """A place on a replica of this variant, of which none is free or there. Raises Overloaded.

        None: the call must look for a replica again.
        """
        call, account = search.call, search.account
        began_s = self._clock.now_s()
        patience_s = self._patience_s(search, variant, began_s)
        try:
            place = await self.queues.wait(
                variant,
                search.caller,
                search.ask,
                account.prefix,
                waited_s=account.held_s if held else account.queued_s - account.held_s,
                left_s=call.received_s + allowed_s(call, search.route[0]) - began_s,
                tried=self._shunned(search),
                ticket=account.ticket,
                patience_s=patience_s,
            )
        finally:
            waited_s = self._clock.now_s() - began_s
            account.queued_s += waited_s
            account.held_s += waited_s if held else 0.0
            if not account.attempts:
                account.story.queue_s = account.queued_s
        account.ticket = place.ticket
        if place.lease is None and patience_s is not None:
            search.impatient = (*search.impatient, variant.name)
            search.route = behind(search.route, variant.name)
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

    def _patience_s(self, search: Search, variant: Variant, now_s: float) -> float | None:
        """How long it waits for a variant while others of its model are there; None: as it may."""
        rules = search.resolved.spill
        if rules is None or rules.ttft_s is None:
            return None
        mine = [one.engines for one in own(search.route)]
        left = [one for one in mine if one.name not in search.impatient]
        if variant not in left or not any(self._fleet.has_usable(one) for one in left[1:]):
            return None
        return search.call.received_s + rules.ttft_s - now_s

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
            if not only_usable and self._first_away(search, full) is not None:
                return None  # it is worth to wait for, more than what probes think is broken
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
                self._passed_over(variant)
        if not is_possible:
            raise InvalidRequest(f"this model does not support {operation.value}")
        return None

    def _passed_over(self, variant: Variant) -> None:
        """None of it can be used: where it is only away, it is wanted, whoever takes the call."""
        if variant.wake is not None and is_away(self._fleet, variant):
            self.wanted.want(variant.engines, self._clock.now_s())

    def _is_left(self, search: Search, full: Collection[Variant]) -> bool:
        if self._pick(search, full) is not None:
            return True
        return self._first_away(search, full) is not None

    def _first_away(self, search: Search, full: Collection[Variant]) -> Variant | None:
        """The first variant of the route that the call may wait for until its engines are back."""
        for one in search.route:
            variant = one.engines
            if variant.wake is None or variant in full or not is_away(self._fleet, variant):
                continue
            if search.ask.operation in self._engines[variant.engine].operations:
                return variant
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


def is_gone(state: ReplicaState, failure: GatewayError) -> bool:
    """Whether a try has found nobody there, where engines may be away. Nothing was sent."""
    return state.variant.wake is not None and isinstance(failure, EngineUnreachable)
