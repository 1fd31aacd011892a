"""Go on with a broken stream on other replicas of the same variant.

The client's answer has begun, so whatever is done here it must see as one stream.
"""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.engines.adapter import EngineAdapter
from gateway.engines.kept import Kept, Why
from gateway.engines.kept_usage import usage_so_far
from gateway.engines.leg import Leg
from gateway.engines.resumed_stream import closing
from gateway.errors import EngineRefused, GatewayError
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.proxy.account import Account, Bookkeeper
from gateway.proxy.attempt import Attempts
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.relay import event_by_event
from gateway.proxy.resume import decide, is_the_engines
from gateway.proxy.story import RESUME
from gateway.routing.policy import RoutingPolicy
from gateway.wire.ask import Ask

if TYPE_CHECKING:
    from gateway.engines.leg import Way


class Legs:
    """Resumes answers; holds what all of them need."""

    def __init__(
        self,
        *,
        fleet: FleetState,
        engines: Mapping[str, EngineAdapter],
        policies: Mapping[str, RoutingPolicy],
        attempts: Attempts,
        books: Bookkeeper,
        rng: random.Random,
    ) -> None:
        self._fleet = fleet
        self._engines = engines
        self._policies = policies
        self._attempts = attempts
        self._books = books
        self._rng = rng

    async def go_on(
        self,
        call: Call,
        ask: Ask,
        client: Client,
        broken: ReplicaState,
        account: Account,
        failure: GatewayError,
    ) -> GatewayError | None:
        """Bring the rest of the answer to the client; gives the failure when that cannot be.

        Raises what another engine could not do better.
        """
        adapter = self._engines[broken.variant.engine]
        kept = account.kept
        if client.is_gone:
            return failure
        if kept is None:
            self._refused(account, _hindrance(ask, adapter, broken))
            return failure
        tried = [broken]
        avoided: list[Way] = []
        while not client.is_gone:
            leg = decide(ask, adapter, kept, failure, resumes=account.resumes, avoided=avoided)
            if isinstance(leg, Why):
                self._refused(account, leg)
                break
            if leg.remaining == 0:
                self._close(call, ask, client, account, kept)
                return None
            state = self._pick(tried, account)
            if state is None:
                self._refused(account, Why.NO_REPLICA)
                break
            broke = await self._broke(call, ask, leg, state, client, account)
            if broke is None:
                return None
            if kept.diverged or isinstance(broke, EngineRefused):
                avoided.append(leg.way)  # the replica is well, and may understand another way
            elif is_the_engines(broke):
                tried.append(state)
            else:
                raise broke
        return failure

    async def _broke(
        self,
        call: Call,
        ask: Ask,
        leg: Leg,
        state: ReplicaState,
        client: Client,
        account: Account,
    ) -> GatewayError | None:
        """How this leg broke; None: it brought the answer to its end."""
        account.resumes += 1
        account.attempt(Lease(state, account.prefix), RESUME)
        try:
            adapter = self._engines[state.variant.engine]
            await self._attempts.run(call, ask, adapter, state, client, account, leg)
        except GatewayError as broke:
            self._books.failed_attempt(account, broke)
            return broke
        else:
            self._books.resumed(account, leg.way.value)
            return None
        finally:
            account.release()

    def _pick(self, tried: list[ReplicaState], account: Account) -> ReplicaState | None:
        """Another replica of the same variant: only those are sure to speak the same tokens.

        One that has the call's adapter: its client has half an answer, and does not wait for it.
        """
        variant = tried[0].variant
        for only_usable in (True, False):
            states = self._fleet.candidates(variant, tried, only_usable=only_usable)
            if account.adapter is not None:
                name = account.adapter.name
                states = [one for one in states if one.adapters.has(name)]
            if states:
                return self._policies[variant.policy].pick(states, account.prefix, self._rng)
        return None

    def _refused(self, account: Account, why: Why) -> None:
        account.resume_refused = why.value
        self._books.resumed(account, why.value)

    def _close(self, call: Call, ask: Ask, client: Client, account: Account, kept: Kept) -> None:
        """Nothing was missing but the end."""
        end = closing(ask, kept)
        client.write(end if call.dialect.is_verbatim else event_by_event(call.dialect.event)(end))
        client.finish()
        account.finish_reason = "length"
        account.usage = usage_so_far(kept)
        self._books.resumed(account, "closed")


def _hindrance(ask: Ask, adapter: EngineAdapter, broken: ReplicaState) -> Why:
    """Why nothing was kept."""
    if not broken.variant.resume:
        return Why.OFF
    return adapter.hindrance(ask) or Why.NO_REPLICA
