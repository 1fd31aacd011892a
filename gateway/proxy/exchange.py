"""The order of events in one request: authenticate, read, resolve, reserve, try, settle.

Nothing but sequencing; every step is decided elsewhere. Whatever happens in between, the client
gets one answer and the account closes once.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Mapping
from functools import partial

import anyio

from gateway.clock import Clock
from gateway.engines.adapter import EngineAdapter
from gateway.errors import (
    ClientGone,
    Draining,
    GatewayError,
    InternalError,
    ModelWaking,
    NoReplica,
    Overloaded,
    RateLimited,
)
from gateway.fleet.catalog import Variant
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.limits.limiter import Limiter
from gateway.proxy.account import Account, Bookkeeper
from gateway.proxy.adapter_loading import AdapterLoading
from gateway.proxy.attempt import Attempts, unseen
from gateway.proxy.budget import RetryBudget
from gateway.proxy.call import Call
from gateway.proxy.choosing import Choosing
from gateway.proxy.client import Client
from gateway.proxy.deadline import Deadline, allowed_s
from gateway.proxy.legs import Legs
from gateway.proxy.mirror.mirroring import Mirroring
from gateway.proxy.onsets import Onsets
from gateway.proxy.placing import Placing, Search, is_gone
from gateway.proxy.race import Hedged
from gateway.proxy.retry import Failed, RetryRules, Stop, costs_budget, decide
from gateway.proxy.server_timing import server_timing
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import Why
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.wire.ask import Ask
from gateway.wire.error_body import error_headers
from gateway.wire.http import Headers

log = logging.getLogger(__name__)


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
        mirroring: Mirroring | None = None,
        loading: AdapterLoading | None = None,
    ) -> None:
        """`mirroring` None: no call is. `loading` None: engines have all their adapters."""
        self.fleet = fleet
        self.retries = retries
        self.is_draining = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._engines = engines
        self._mirroring = mirroring
        self._loading = loading
        self._attempts = attempts
        self._books = books
        self._clock = clock
        self._rng = rng
        self._hedged = Hedged(attempts=attempts, engines=engines, books=books, clock=clock)
        self._budgets: dict[str, RetryBudget] = {}
        self._onsets = Onsets()
        self._placing = Placing(
            fleet=fleet,
            engines=engines,
            policies=policies,
            books=books,
            limiter=limiter,
            clock=clock,
            rng=rng,
            heartbeat_s=attempts.heartbeat_s,
        )
        self.queues = self._placing.queues
        self.wanted = self._placing.wanted
        self.choosing = Choosing(fleet=fleet, queues=self.queues, clock=clock, rng=rng)
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
        who = () if account.tried is None else self._attempts.shown(account.tried.state)
        tell(client, call, failure, (*who, *headers, *timing))

    async def _answer(self, call: Call, client: Client, account: Account) -> None:
        if self.is_draining:
            raise Draining("this gateway is shutting down, try again", retry_after_s=1.0)
        caller = self.fleet.catalog.keys.caller(call.authorization)
        account.caller = caller.name
        account.story.shows_timing = caller.plan.shows_timing
        ask = call.dialect.ask(call.body, call.operation, call.model)
        account.stream = ask.stream
        account.story.ask = ask
        resolved = self.choosing.resolved(call, ask, caller)
        route = resolved.route
        account.asked = resolved.name
        account.adapter = route[0].adapter
        account.prefix = self._placing.prefix(call, ask, route)
        search = Search(call, ask, caller, resolved, account, client)
        mirrored = None
        if route[0].mirror is not None and self._mirroring is not None:
            mirrored = self._mirroring.sampled(route[0], call, ask, client)
        if mirrored is None:
            await self._within_time(search, client)
            return
        try:
            await self._within_time(search, mirrored.client)
        finally:
            mirrored.over(account)

    async def _within_time(self, search: Search, client: Client) -> None:
        with Deadline(allowed_s(search.call, search.route[0]), self.loop):
            await self._try_all(search, client)

    async def _try_all(self, search: Search, client: Client) -> None:
        call, account, first = search.call, search.account, search.route[0]
        failure: GatewayError | None = None
        while True:
            try:
                lease = await self._placing.place(search)
            except ModelWaking:
                raise  # that nobody was there when it was tried is no news
            except (NoReplica, Overloaded, RateLimited) as none:
                raise failure or none from none
            account.attempt(lease)  # from here on the account gives it back, whatever happens
            state = lease.state
            if failure is None:
                self._choose(search, state.variant)
                self._budget(first.model).count_request(call.received_s)
            adapter = self._engines[state.variant.engine]
            form = self._attempts.form(call, search.ask, client, adapter, state.variant, account)
            failure = await self._failure_on(*form, lease, search)
            if failure is not None:
                failure = await self._failure_beyond(*form, state, account, failure)
            if failure is None:
                return
            search.tried.append(state)
            if client.is_gone or not self._placing.is_any_left(search):
                raise failure
            if is_gone(state, failure):
                continue  # one try for each time that a probe finds it
            wait_s = self._wait_before_retry_s(call, first, account, failure)
            if wait_s:
                await anyio.sleep(wait_s)

    def _choose(self, search: Search, variant: Variant) -> None:
        """The call goes to this variant; is told where there was another."""
        found = search.resolved
        if len(found.route) > 1 or found.why is Why.SPLIT:
            self._books.chosen(
                search.account, found.name, variant, self.choosing.why(found, variant)
            )

    async def _failure_on(
        self, call: Call, ask: Ask, client: Client, lease: Lease, search: Search
    ) -> GatewayError | None:
        """How a try on this replica failed; None: it brought the answer."""
        account, state = search.account, lease.state
        if state.target.gradient is not None:
            lease.since_s = self._clock.now_s()
        if state.variant.times_onsets and ask.stream:
            lease.onset = self.choosing.onset(state.variant)
        try:
            if account.adapter is None or self._loading is None:
                await self._try(call, ask, client, lease, search)
            else:
                async with self._loading.ready(state, account.adapter, call.request_id):
                    await self._try(call, ask, client, lease, search)
        except GatewayError as failure:
            return failure
        else:
            return None
        finally:
            account.release()

    async def _try(
        self, call: Call, ask: Ask, client: Client, lease: Lease, search: Search
    ) -> None:
        account, state = search.account, lease.state
        # a second replica would have to have the adapter, too
        if state.variant.hedging is None or account.adapter is not None:
            adapter = self._engines[state.variant.engine]
            await self._attempts.run(call, ask, adapter, state, client, account)
        else:
            rival = partial(self._rival, state, search)
            await self._hedged.run(call, ask, lease, client, account, rival)

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
        self._placing.failed(state, failure)
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
        has_room = budget.has_room(now_s, ratio=rules.budget_ratio, floor=rules.budget_floor)
        if costs_budget(failure) and rules.budget_ratio:
            one = account.trying
            has_room = self._onsets.caught(one.state, one.began_s, now_s) or has_room
        failed = Failed(
            failure,
            account.attempts,
            since_s=call.received_s,
            now_s=now_s,
            deadline_s=call.received_s + allowed_s(call, first),
            has_budget=has_room,
        )
        verdict = decide(failed, rules, self._rng)
        if isinstance(verdict, Stop):
            self._books.refused_retry(account, first.model, verdict)
            raise failure
        if costs_budget(failure):
            budget.count_retry(now_s)
        return verdict

    def _rival(self, first: ReplicaState, search: Search) -> ReplicaState | None:
        """Another replica to try beside the first.

        None where the budget for retries has no room, or nobody is free.
        """
        rules = self.retries
        budget = self._budget(search.route[0].model)
        now_s = self._clock.now_s()
        if not budget.has_room(now_s, ratio=rules.budget_ratio, floor=rules.budget_floor):
            return None
        rival = self._placing.beside(first, search)
        if rival is not None:
            budget.count_retry(now_s)
        return rival

    def _budget(self, model: str) -> RetryBudget:
        budget = self._budgets.get(model)
        if budget is None:
            budget = self._budgets[model] = RetryBudget(self._clock.now_s())
        return budget


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
