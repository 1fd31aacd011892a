"""Two tries of one call beside each other, of which the first answer counts.

Each has an account and a client of its own, so that nothing of the loser is ever told or
charged; the loser is cancelled the moment there is an answer, which drops its connection. What
decides whether and when there is a second try is `hedge`.
"""

from collections.abc import Callable, Mapping

import anyio

from gateway.clock import Clock
from gateway.config.models import Hedging
from gateway.engines.adapter import EngineAdapter
from gateway.errors import GatewayError
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.proxy.account import Account, Bookkeeper, Hedge, route_of
from gateway.proxy.attempt import Attempts
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.hedge import Pace, is_short
from gateway.proxy.held_answer import HeldAnswer
from gateway.proxy.story import HEDGE, Try
from gateway.wire.ask import Ask

# another replica to try as well; None: there is none, or it may not be asked
Rival = Callable[[], ReplicaState | None]


class Entrant:
    """One of the tries. It is over when it has an answer or a failure."""

    def __init__(
        self, call: Call, lease: Lease, client: Client, account: Account, trying: Try
    ) -> None:
        self.lease = lease
        self.scope = anyio.CancelScope()
        self.answer = HeldAnswer(client)
        self.failure: GatewayError | None = None
        self.account = Account(call, _settle_nothing, account.story)
        self.account.trying = trying
        self.account.reservation = account.reservation
        self.account.route = route_of(lease.state)
        self.account.tried = lease


class Hedged:
    """Runs the tries of models with hedging."""

    def __init__(
        self,
        *,
        attempts: Attempts,
        engines: Mapping[str, EngineAdapter],
        books: Bookkeeper,
        clock: Clock,
    ) -> None:
        self._attempts = attempts
        self._engines = engines
        self._books = books
        self._clock = clock
        self._paces: dict[str, Pace] = {}

    async def run(
        self, call: Call, ask: Ask, lease: Lease, client: Client, account: Account, rival: Rival
    ) -> None:
        """Like `Attempts.run`, which this does once or twice."""
        variant = lease.state.variant
        rules = variant.hedging
        if rules is None or not is_short(ask, rules):
            await self._alone(call, ask, lease, client, account)
            return
        began_s = self._clock.now_s()
        pace = self._paces.get(variant.model)
        if pace is None:
            pace = self._paces[variant.model] = Pace(began_s)
        late_s = pace.begin(began_s, rules)
        if late_s is None:
            await self._alone(call, ask, lease, client, account)
        else:
            late_rival = self._within_share(rival, pace, rules)
            await self._race(call, ask, lease, client, account, late_rival, late_s)
        pace.answered(self._clock.now_s() - began_s)

    async def _alone(
        self, call: Call, ask: Ask, lease: Lease, client: Client, account: Account
    ) -> None:
        state = lease.state
        engine = self._engines[state.variant.engine]
        await self._attempts.run(call, ask, engine, state, client, account)

    def _within_share(self, rival: Rival, pace: Pace, rules: Hedging) -> Rival:
        """The rival, while the model has not used up its share of second tries."""

        def late_rival() -> ReplicaState | None:
            now_s = self._clock.now_s()
            found = rival() if pace.may_hedge(now_s, rules) else None
            if found is not None:
                pace.hedged(now_s)
            return found

        return late_rival

    async def _race(
        self,
        call: Call,
        ask: Ask,
        lease: Lease,
        client: Client,
        account: Account,
        rival: Rival,
        late_s: float,
    ) -> None:
        """Raises the failure of the first, where no try has an answer."""
        first = Entrant(call, lease, client, account, account.trying)
        second: Entrant | None = None
        over = anyio.Event()
        running = 0

        async def run(entrant: Entrant) -> None:
            nonlocal running
            running += 1
            try:
                with entrant.scope:
                    await self._try(call, ask, entrant)
            finally:
                running -= 1
                if entrant.answer.is_finished or not running:
                    over.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, first)
            with anyio.move_on_after(late_s):
                await over.wait()
            other = None if over.is_set() else rival()
            if other is not None:
                begun = account.story.begin(other, HEDGE)
                lease = Lease(other, account.prefix)
                second = Entrant(call, lease, client, account, begun)
                try:
                    tasks.start_soon(run, second)
                    await over.wait()
                finally:
                    first.scope.cancel()
                    second.scope.cancel()
                    second.lease.release()
        self._end(account, first, second)

    async def _try(self, call: Call, ask: Ask, entrant: Entrant) -> None:
        try:
            await self._alone(call, ask, entrant.lease, entrant.answer, entrant.account)
        except GatewayError as failure:
            entrant.failure = failure

    def _end(self, account: Account, first: Entrant, second: Entrant | None) -> None:
        winner = first
        if second is not None:
            loser = second
            if second.answer.is_finished and not first.answer.is_finished:
                winner, loser = second, first
            outcome = Hedge.FAILED
            if winner.failure is None:
                outcome = Hedge.LOST if winner is first else Hedge.WON
            self._books.hedged(account, outcome, loser.account, loser.failure)
        if winner.failure is not None:
            raise winner.failure
        account.adopt(winner.account)
        winner.answer.tell()


def _settle_nothing(_: Account, __: Call) -> None:
    """A try is no call: only the call's own account settles."""
