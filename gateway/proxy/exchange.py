"""The order of events in one request: authenticate, read, resolve, reserve, try, settle.

Nothing but sequencing; every step is decided elsewhere. Whatever happens in between, the client
gets one answer and the account closes once.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Collection, Mapping

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
    RateLimited,
)
from gateway.fleet.catalog import Variant
from gateway.fleet.state import FleetState, Lease, ReplicaState
from gateway.limits.limiter import Limiter
from gateway.proxy.account import Account, Bookkeeper
from gateway.proxy.attempt import Attempts
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.deadline import Deadline
from gateway.proxy.legs import Legs
from gateway.proxy.retry import RetryRules, wait_before_retry_s
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import resolve
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
        try:
            await self._answer(call, client, account)
        except GatewayError as failure:
            _fail(client, call, account, failure)
        except asyncio.CancelledError:
            left = ClientGone("the client left") if client.is_gone else Draining("shutting down")
            _fail(client, call, account, left)
            raise
        except Exception as bug:  # noqa: BLE001  # the outermost edge of a request: nothing may escape
            _fail(client, call, account, _bug(call, bug))
        finally:
            account.close()

    async def _answer(self, call: Call, client: Client, account: Account) -> None:
        if self.is_draining:
            raise Draining("this gateway is shutting down, try again", retry_after_s=1.0)
        caller = self.fleet.catalog.keys.caller(call.authorization)
        account.caller = caller.name
        ask = call.dialect.ask(call.body, call.operation, call.model)
        account.stream = ask.stream
        route = resolve(self.fleet.catalog, ask.model, caller.plan, self._rng)
        with Deadline(route[0].timeouts.total_s, self.loop):
            await self._try_all(call, ask, caller, route, client, account)

    async def _try_all(
        self,
        call: Call,
        ask: Ask,
        caller: Caller,
        route: Collection[Variant],
        client: Client,
        account: Account,
    ) -> None:
        tried: list[ReplicaState] = []
        failure: GatewayError | None = None
        while True:
            try:
                state = await self._reserved(ask, caller, route, tried, account)
            except RateLimited as limited:
                raise failure or limited from limited
            if state is None:
                raise failure or NoReplica("no replica can take this call now")
            lease = Lease(state)
            account.attempt(lease)
            try:
                await self._attempts.run(
                    call, ask, self._engines[state.variant.engine], state, client, account
                )
            except GatewayError as exc:
                failure = exc
            else:
                return None
            finally:
                account.release()
            self._books.failed_attempt(account, failure)
            if account.first_content_s is not None:
                return await self._legs.go_on(call, ask, state, client, account, failure)
            wait_s = wait_before_retry_s(failure, account.attempts, self.retries, self._rng)
            if wait_s is None or client.is_gone:
                raise failure
            tried.append(state)
            if wait_s:
                await anyio.sleep(wait_s)

    async def _reserved(
        self,
        ask: Ask,
        caller: Caller,
        route: Collection[Variant],
        tried: Collection[ReplicaState],
        account: Account,
    ) -> ReplicaState | None:
        """A replica whose limits have room for this call, and have been charged with it.

        A variant whose own limits are reached is passed over like one without replicas; the
        caller's own hold everywhere. Who is free may change while limits are asked, so a
        replica is picked afterwards. Raises RateLimited, or LimiterDown.
        """
        full: list[Variant] = []
        while True:
            state = self._pick(ask, route, tried, full)
            before = account.reservation
            if state is None or (before is not None and before.covers(state.variant)):
                return state
            account.reservation = None
            variant = state.variant
            try:
                account.reservation = await self._limiter.reserve(caller, variant, ask, before)
            except RateLimited as limited:
                full.append(variant)
                if limited.is_for_key or self._pick(ask, route, tried, full) is None:
                    raise

    def _pick(
        self,
        ask: Ask,
        route: Collection[Variant],
        tried: Collection[ReplicaState],
        full: Collection[Variant],
    ) -> ReplicaState | None:
        """A replica of the first variant that has one left; ready ones anywhere come first."""
        is_possible = False
        for only_usable in (True, False):
            for variant in route:
                if ask.operation not in self._engines[variant.engine].operations:
                    continue
                is_possible = True
                if variant in full:
                    continue
                if states := self.fleet.candidates(variant, tried, only_usable=only_usable):
                    return self._policies[variant.policy].pick(states, self._rng)
        if not is_possible:
            raise InvalidRequest(f"this model does not support {ask.operation.value}")
        return None


def _fail(client: Client, call: Call, account: Account, failure: GatewayError) -> None:
    if not client.is_finished:  # what befalls us after a whole answer is no failure of it
        account.failure = failure
        reservation = account.reservation
        tell(client, call, failure, () if reservation is None else reservation.headers)


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
