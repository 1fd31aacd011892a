"""The order of events in one request: authenticate, read, resolve, reserve, try, settle.

Nothing but sequencing; every step is decided elsewhere. Whatever happens in between, the client
gets one answer and the account closes once.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Collection, Mapping
from functools import partial

import anyio

from gateway.auth.keys import Caller
from gateway.clock import Clock
from gateway.engines.adapter import EngineAdapter
from gateway.errors import (
    ClientGone,
    Draining,
    GatewayError,
    InternalError,
    InvalidRequest,
    NoReplica,
    Overloaded,
    RateLimited,
)
from gateway.fleet.catalog import Variant
from gateway.fleet.resting import Resting
from gateway.fleet.state import FleetState, Lease, ReplicaState
from gateway.limits.limiter import Limiter
from gateway.proxy.account import Account, Bookkeeper
from gateway.proxy.attempt import Attempts, unseen
from gateway.proxy.budget import RetryBudget
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.deadline import Deadline
from gateway.proxy.legs import Legs
from gateway.proxy.race import Hedged
from gateway.proxy.retry import Failed, RetryRules, Stop, costs_budget, decide
from gateway.proxy.server_timing import server_timing
from gateway.queueing.queues import Queues
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import Route, resolve
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.wire.ask import Ask
from gateway.wire.error_body import error_headers
from gateway.wire.http import Headers
from gateway.wire.prefix import NO_PREFIX, Prefix, prefix_of, session_of

log = logging.getLogger(__name__)

# whom to pass over, and whether only usable replicas will do; until somebody is found
_Rounds = tuple[tuple[Collection[ReplicaState], bool], ...]


class Exchange:
    """Answers calls. `loop`: where they run, once it is known; saves looking it up each time."""

    def __init__(
        self,
        *,
        fleet: FleetState,
        engines: Mapping[str, EngineAdapter],
        policies: Mapping[str, RoutingPolicy],
        attempts: Attempts,
        books: Bookkeeper,
        retries: RetryRules,
        limiter: Limiter,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.fleet = fleet
        self.retries = retries
        self.is_draining = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._engines = engines
        self._policies = policies
        self._attempts = attempts
        self._books = books
        self._limiter = limiter
        self._clock = clock
        self._rng = rng
        self._hedged = Hedged(attempts=attempts, engines=engines, books=books, clock=clock)
        self._budgets: dict[str, RetryBudget] = {}
        self._resting = Resting()
        self.queues = Queues(
            fleet=fleet,
            policies=policies,
            resting=self._resting,
            clock=clock,
            rng=rng,
            told=books.turned_away,
        )
        self._legs = Legs(
            fleet=fleet,
            engines=engines,
            policies=policies,
            attempts=attempts,
            books=books,
            rng=rng,
        )

    async def run(self, call: Call, client: Client) -> None:
        """Answer one call. Raises nothing but cancellation."""
        account = self._books.open(call)
        client = self._books.recording(account, client)
        try:
            await self._answer(call, client, account)
        except GatewayError as failure:
            self._fail(client, call, account, failure)
        except asyncio.CancelledError:
            left = ClientGone("the client left") if client.is_gone else Draining("shutting down")
            self._fail(client, call, account, left)
            raise
        except Exception as bug:  # noqa: BLE001  # the outermost edge of a request: nothing may escape
            self._fail(client, call, account, _bug(call, bug))
        finally:
            account.close()

    def _fail(self, client: Client, call: Call, account: Account, failure: GatewayError) -> None:
        if client.is_finished:
            return  # what befalls us after a whole answer is no failure of it
        account.failure = failure
        reservation = account.reservation
        headers = () if reservation is None else reservation.headers
        timing = server_timing(account.story, self._clock.now_s(), stream=account.stream)
        tell(client, call, failure, (*headers, *timing))

    async def _answer(self, call: Call, client: Client, account: Account) -> None:
        if self.is_draining:
            raise Draining("this gateway is shutting down, try again", retry_after_s=1.0)
        caller = self.fleet.catalog.keys.caller(call.authorization)
        account.caller = caller.name
        account.story.shows_timing = caller.plan.shows_timing
        ask = call.dialect.ask(call.body, call.operation, call.model)
        account.stream = ask.stream
        account.story.ask = ask
        route = resolve(self.fleet.catalog, ask.model, caller.plan, self._rng)
        account.prefix = self._prefix(call, ask, route)
        with Deadline(_allowed_s(call, route[0]), self.loop):
            await self._try_all(call, ask, caller, route, client, account)

    async def _try_all(
        self,
        call: Call,
        ask: Ask,
        caller: Caller,
        route: Route,
        client: Client,
        account: Account,
    ) -> None:
        tried: list[ReplicaState] = []
        passed: list[Variant] = []
        failure: GatewayError | None = None
        while True:
            try:
                lease = await self._place(call, ask, caller, route, tried, passed, account)
            except (NoReplica, Overloaded, RateLimited) as none:
                raise failure or none from none
            state = lease.state
            if failure is None:
                self._budget(route[0].model).count_request(call.received_s)
            adapter = self._engines[state.variant.engine]
            form = self._attempts.form(call, ask, client, adapter, state.variant, account)
            failure = await self._failure_on(*form, route, lease, tried, account)
            if failure is not None:
                failure = await self._failure_beyond(*form, state, account, failure)
            if failure is None:
                return
            tried.append(state)
            if client.is_gone or self._pick(ask, route, tried, passed, account.prefix) is None:
                raise failure
            wait_s = self._wait_before_retry_s(call, route[0], account, failure)
            if wait_s:
                await anyio.sleep(wait_s)

    async def _place(
        self,
        call: Call,
        ask: Ask,
        caller: Caller,
        route: Route,
        tried: list[ReplicaState],
        passed: list[Variant],
        account: Account,
    ) -> Lease:
        """A place on a replica that was not tried. Raises why there is none.

        Where all of a variant are busy the call waits for one of them; where it must not, the
        variant is `passed` over.
        """
        while True:
            state = await self._reserved(ask, caller, route, tried, passed, account)
            if state is None:
                raise NoReplica("no replica can take this call now")
            if state.in_flight < state.most:
                return Lease(state, account.prefix)
            try:
                lease = await self._waited(call, ask, caller, route, state, tried, account)
            except Overloaded:
                passed.append(state.variant)
                if self._pick(ask, route, tried, passed, account.prefix) is None:
                    raise
            else:
                if lease is not None:
                    return lease

    async def _waited(
        self,
        call: Call,
        ask: Ask,
        caller: Caller,
        route: Route,
        state: ReplicaState,
        tried: list[ReplicaState],
        account: Account,
    ) -> Lease | None:
        """A place on a replica of this variant, of which all are busy. Raises Overloaded.

        None: the call must look for a replica again.
        """
        variant = state.variant
        began_s = self._clock.now_s()
        try:
            place = await self.queues.wait(
                variant,
                caller,
                ask,
                account.prefix,
                waited_s=account.queued_s,
                left_s=call.received_s + _allowed_s(call, route[0]) - began_s,
                tried=tried,
                ticket=account.ticket,
            )
        finally:
            account.queued_s += self._clock.now_s() - began_s
            if not account.attempts:
                account.story.queue_s = account.queued_s
        account.ticket = place.ticket
        if place.lease is not None:
            self._books.waited(account, variant, caller.plan.priority)
        return place.lease

    async def _failure_on(
        self,
        call: Call,
        ask: Ask,
        client: Client,
        route: Route,
        lease: Lease,
        tried: list[ReplicaState],
        account: Account,
    ) -> GatewayError | None:
        """How a try on this replica failed; None: it brought the answer."""
        state = lease.state
        if state.target.gradient is not None:
            lease.since_s = self._clock.now_s()
        account.attempt(lease)
        try:
            if state.variant.hedging is None:
                adapter = self._engines[state.variant.engine]
                await self._attempts.run(call, ask, adapter, state, client, account)
            else:
                rival = partial(self._rival, route[0].model, state, tried, account.prefix)
                await self._hedged.run(call, ask, lease, client, account, rival)
        except GatewayError as failure:
            return failure
        else:
            return None
        finally:
            account.release()

    async def _failure_beyond(
        self,
        call: Call,
        ask: Ask,
        client: Client,
        state: ReplicaState,
        account: Account,
        failure: GatewayError,
    ) -> GatewayError | None:
        """What a failure of a try comes to; None: others went on with the answer it had begun.

        Raises it where the client has seen the beginning, and the rest cannot be had.
        """
        self._books.failed_attempt(account, failure)
        self._resting.failed(state, failure, self._clock.now_s())
        if account.first_content_s is None:
            return failure
        broke = await self._legs.go_on(call, ask, client, state, account, failure)
        if broke is not None:
            if account.stream:
                raise broke
            account.begin_again()
            return unseen(broke)
        return None

    def _wait_before_retry_s(
        self, call: Call, first: Variant, account: Account, failure: GatewayError
    ) -> float:
        """Raises the failure where it stands. The budget is charged before anybody waits."""
        rules = self.retries
        budget = self._budget(first.model)
        now_s = self._clock.now_s()
        failed = Failed(
            failure,
            account.attempts,
            since_s=call.received_s,
            now_s=now_s,
            deadline_s=call.received_s + _allowed_s(call, first),
            has_budget=budget.has_room(now_s, ratio=rules.budget_ratio, floor=rules.budget_floor),
        )
        verdict = decide(failed, rules, self._rng)
        if isinstance(verdict, Stop):
            self._books.refused_retry(account, first.model, verdict)
            raise failure
        if costs_budget(failure):
            budget.count_retry(now_s)
        return verdict

    def _rival(
        self, model: str, first: ReplicaState, tried: list[ReplicaState], prefix: Prefix
    ) -> ReplicaState | None:
        """Another ready replica of the same variant with room, which has now been tried, too.

        None where the budget for retries has no room, or nobody is free.
        """
        rules = self.retries
        budget = self._budget(model)
        now_s = self._clock.now_s()
        variant = first.variant
        shunned = (first, *tried, *self._resting.at(now_s))
        ready = self.fleet.candidates(variant, shunned, only_usable=True)
        states = [state for state in ready if state.in_flight < state.most]
        if not states or not budget.has_room(
            now_s, ratio=rules.budget_ratio, floor=rules.budget_floor
        ):
            return None
        budget.count_retry(now_s)
        rival = self._policies[variant.policy].pick(states, prefix, self._rng)
        tried.append(rival)
        return rival

    def _budget(self, model: str) -> RetryBudget:
        budget = self._budgets.get(model)
        if budget is None:
            budget = self._budgets[model] = RetryBudget(self._clock.now_s())
        return budget

    async def _reserved(
        self,
        ask: Ask,
        caller: Caller,
        route: Collection[Variant],
        tried: Collection[ReplicaState],
        passed: Collection[Variant],
        account: Account,
    ) -> ReplicaState | None:
        """A replica whose limits have room for this call, and have been charged with it.

        A variant whose own limits are reached is passed over like one without replicas; the
        caller's own hold everywhere. Who is free may change while limits are asked, so a
        replica is picked afterwards. `passed`: variants that are passed over as well. Raises
        RateLimited, or LimiterDown.
        """
        full = list(passed)
        if account.reservation is None and len(route) == 1:  # there is no choice to make before
            (only,) = route
            account.reservation = await self._limiter.reserve(caller, only, ask)
        while True:
            state = self._pick(ask, route, tried, full, account.prefix)
            before = account.reservation
            if state is None or (before is not None and before.covers(state.variant)):
                return state
            account.reservation = None
            variant = state.variant
            try:
                account.reservation = await self._limiter.reserve(caller, variant, ask, before)
            except RateLimited as limited:
                full.append(variant)
                if (
                    limited.is_for_key
                    or self._pick(ask, route, tried, full, account.prefix) is None
                ):
                    raise

    def _pick(
        self,
        ask: Ask,
        route: Collection[Variant],
        tried: Collection[ReplicaState],
        full: Collection[Variant],
        prefix: Prefix,
    ) -> ReplicaState | None:
        """A replica of the first variant that has one left; ready ones anywhere come first.

        One with room, if any of the variant has room.
        """
        is_possible = False
        rounds: _Rounds = ((tried, True), (tried, False))
        if self._resting.until_s:
            rounds = self._rounds_with_rest(tried)
        for shunned, only_usable in rounds:
            for variant in route:
                if ask.operation not in self._engines[variant.engine].operations:
                    continue
                is_possible = True
                if variant in full:
                    continue
                if states := self.fleet.candidates(variant, shunned, only_usable=only_usable):
                    policy = self._policies[variant.policy]
                    state = policy.pick(states, prefix, self._rng)
                    if state.in_flight >= state.most:
                        roomy = [one for one in states if one.in_flight < one.most]
                        return policy.pick(roomy, prefix, self._rng) if roomy else state
                    return state
        if not is_possible:
            raise InvalidRequest(f"this model does not support {ask.operation.value}")
        return None

    def _prefix(self, call: Call, ask: Ask, route: Route) -> Prefix:
        """What the prompt begins with, where any policy on the way wants to know."""
        for variant in route:
            if self._policies[variant.policy].reads_prefix:
                return prefix_of(ask, session_of(ask, call.session, variant.session))
        return NO_PREFIX

    def _rounds_with_rest(self, tried: Collection[ReplicaState]) -> _Rounds:
        """Those that rest come after the others.

        For a call that was tried before, those that said for how long do not come at all.
        """
        now_s = self._clock.now_s()
        awake = ((*tried, *self._resting.at(now_s)), True)
        shunned = (*tried, *self._resting.at(now_s, only_told=True)) if tried else tried
        return (awake, (shunned, True), (shunned, False))


def _allowed_s(call: Call, first: Variant) -> float:
    """How long the whole call may take: what its model allows, or less if the client says so."""
    total_s = first.timeouts.total_s
    return total_s if call.timeout_s is None else min(total_s, call.timeout_s)


def tell(client: Client, call: Call, failure: GatewayError, headers: Headers = ()) -> None:
    """Bring a failure to the client: as a status, or as an event when the answer has begun."""
    if client.is_gone:
        return
    if client.has_started:
        client.write(call.dialect.error_event(failure))
        client.finish()
        return
    head = (
        (b"x-request-id", call.request_id.encode()),
        (b"content-type", b"application/json"),
        *headers,
        *error_headers(failure),
    )
    client.respond(call.dialect.status(failure), head, call.dialect.error(failure))


def _bug(call: Call, bug: Exception) -> InternalError:
    bug_id = uuid.uuid4().hex[:8]
    log.error(F.BUG, exc_info=bug, extra={F.REQUEST_ID: call.request_id, F.REASON: bug_id})
    return InternalError(f"the gateway failed; if you report it, mention {bug_id}")
