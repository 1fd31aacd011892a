"""Sends a sample of the answered calls to a shadow as well, and compares what it says.

Nothing here is on the way of a client: a call is drawn when it comes, its answer is kept while it
passes, and the shadow is asked when it is whole. Neither waits for the other. What is held is
bounded from the draw on, and the shadow's answers count nowhere but in metrics of their own: no
limit, no health, no health's trial, no trace. A shadow is asked only where it has room, and a
real call could have the next place, too.
"""

import logging
import random
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec

from gateway.clock import Clock
from gateway.config.mirror import Mirror
from gateway.engines.adapter import EngineAdapter
from gateway.errors import EngineRefused, GatewayError, InvalidRequest
from gateway.fleet.catalog import Variant
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.proxy.account import Account
from gateway.proxy.attempt import Attempts, StreamBounds
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.mirror.comparing import Heard, Pair, compared
from gateway.proxy.mirror.comparison import Comparisons
from gateway.proxy.mirror.shadow_client import ShadowClient
from gateway.proxy.mirror.told import tell
from gateway.proxy.recorded_answer import RecordedAnswer
from gateway.proxy.story import Story
from gateway.proxy.upstream.protocol import Upstream
from gateway.routing.policy import RoutingPolicy
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics
from gateway.wire.ask import Ask, Operation
from gateway.wire.prefix import NO_PREFIX

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

log = logging.getLogger(__name__)

_COMPARABLE: Final = (Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDINGS)


class Outcome(StrEnum):
    """What came of a call that was sent to a shadow."""

    COMPARED = "compared"
    FAILED = "failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    CANCELLED = "cancelled"


class Skipped(StrEnum):
    """Why a call of the sample was not sent."""

    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    FULL = "full"
    UNANSWERED = "unanswered"
    SAME = "same"
    UNHEALTHY = "unhealthy"
    BUSY = "busy"
    STOPPED = "stopped"


class _Sent(NamedTuple):
    """What a shadow is asked, and what its answer is compared with."""

    call: Call
    ask: Ask
    variant: Variant
    mirror: Mirror
    heard: Heard


class Mirrored:
    """A call that was drawn. It holds one of the model's places until it is compared or dropped."""

    def __init__(
        self,
        mirroring: "Mirroring",
        model: str,
        mirror: Mirror,
        call: Call,
        ask: Ask,
        client: Client,
    ) -> None:
        self.client = RecordedAnswer(client, mirror.max_answer_bytes)
        self._mirroring = mirroring
        self._model = model
        self._mirror = mirror
        self._call = call
        self._ask = ask

    def over(self, account: Account) -> None:
        """The client has its answer, or there is none."""
        self._mirroring.answered(
            self._model, self._mirror, self._call, self._ask, self.client, account
        )


class Mirroring:
    """All shadows of one process. Nothing is sent before `run` and after `stop`."""

    def __init__(
        self,
        *,
        fleet: FleetState,
        engines: Mapping[str, EngineAdapter],
        policies: Mapping[str, RoutingPolicy],
        upstream: Upstream,
        bounds: StreamBounds,
        metrics: Metrics,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.comparisons: Final = Comparisons()
        self.records_content = False
        self._fleet = fleet
        self._engines = engines
        self._policies = policies
        # what a shadow's tries count is nobody's: those metrics are shown nowhere
        self._attempts = Attempts(upstream, Metrics(), clock, bounds)
        self._metrics = metrics.mirrors
        self._clock = clock
        self._rng = rng
        self._held: dict[str, int] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Ask shadows until cancelled or stopped."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                await anyio.sleep_forever()
        finally:
            self._tasks = None

    def stop(self) -> None:
        """No shadow is asked any more; what runs is dropped."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
            self._tasks = None

    @property
    def held(self) -> int:
        """Calls that are held now: drawn, and not yet compared or dropped."""
        return sum(self._held.values())

    def sampled(self, variant: Variant, call: Call, ask: Ask, client: Client) -> Mirrored | None:
        """The call, if it is drawn and can be mirrored."""
        mirror = variant.mirror
        if mirror is None or self._rng.random() >= mirror.sample:
            return None
        model, why = variant.model, None
        if ask.operation not in _COMPARABLE or ask.n != 1 or not call.dialect.is_verbatim:
            why = Skipped.UNSUPPORTED
        elif ask.body_bytes > mirror.max_body_bytes:
            why = Skipped.TOO_LARGE
        elif self._tasks is None:
            why = Skipped.STOPPED
        elif self._held.get(model, 0) >= mirror.max_in_flight:
            why = Skipped.FULL
        if why is not None:
            self._skip(model, mirror.to, why)
            return None
        self._held[model] = self._held.get(model, 0) + 1
        return Mirrored(self, model, mirror, call, ask, client)

    def answered(
        self,
        model: str,
        mirror: Mirror,
        call: Call,
        ask: Ask,
        answer: RecordedAnswer,
        account: Account,
    ) -> None:
        """A call that was drawn is over: ask the shadow, or let it go."""
        heard = Heard.of(account, bytes(answer.body), self._clock.now_s())
        target = self._fleet.catalog.names.get(mirror.to)
        sent = None
        if target is None:  # the configuration is another one by now
            why: Skipped | None = Skipped.STOPPED
        else:
            sent = _Sent(call, ask, target.first, mirror, heard)
            why = self._why_not(sent, answer)
        if sent is None or why is not None or self._tasks is None:
            self._let_go(model)
            self._skip(model, mirror.to, why or Skipped.STOPPED)
        else:
            self._tasks.start_soon(self._mirror, model, sent)

    def _why_not(self, sent: _Sent, answer: RecordedAnswer) -> Skipped | None:
        if not answer.is_finished or sent.heard.variant == "":
            return Skipped.UNANSWERED
        if answer.is_cut:
            return Skipped.TOO_LARGE
        if sent.variant.name == sent.heard.variant:
            return Skipped.SAME
        if sent.ask.operation not in self._engines[sent.variant.engine].operations:
            return Skipped.UNSUPPORTED
        return None

    async def _mirror(self, model: str, sent: _Sent) -> None:
        outcome = Outcome.CANCELLED
        try:
            state = self._place(model, sent)
            if state is None:
                return
            try:
                outcome = await self._outcome(model, sent, state)
            except Exception:
                outcome = Outcome.FAILED
                log.exception(F.BUG, extra={F.REQUEST_ID: sent.call.request_id})
            finally:
                self._metrics.calls.cell(model, sent.mirror.to, outcome.value).add()
        finally:
            self._let_go(model)

    def _place(self, model: str, sent: _Sent) -> ReplicaState | None:
        """A replica of the shadow with room for two: a real call may come any moment.

        Never one that is ejected, or on trial: what tries those out is told to the fleet.
        """
        variant = sent.variant
        ready = [
            one
            for one in self._fleet.candidates(variant, (), only_usable=True)
            if one.health.is_usable and _has_adapter(one, variant)
        ]
        roomy = [one for one in ready if _has_room(one)]
        if not roomy:
            self._skip(model, sent.mirror.to, Skipped.BUSY if ready else Skipped.UNHEALTHY)
            return None
        return self._policies[variant.policy].pick(roomy, NO_PREFIX, self._rng)

    async def _outcome(self, model: str, sent: _Sent, state: ReplicaState) -> Outcome:
        scope = anyio.move_on_after(sent.mirror.timeout_s)
        client = ShadowClient(sent.mirror.max_answer_bytes, scope.cancel)
        call = msgspec.structs.replace(
            sent.call,
            request_id=f"{sent.call.request_id}-mirror",
            received_s=self._clock.now_s(),
            traceparent=None,
            tracestate=None,
        )
        account = Account(call, _settle_nothing, Story(call.received_s, self._clock.now_s))
        account.stream = sent.ask.stream
        account.adapter = sent.variant.adapter
        account.attempt(Lease(state))
        adapter = self._engines[state.variant.engine]
        try:
            with scope:
                await self._attempts.run(call, sent.ask, adapter, state, client, account)
        except (EngineRefused, InvalidRequest):
            return Outcome.REFUSED
        except GatewayError:
            return Outcome.FAILED
        finally:
            account.release()
        if client.is_too_large:
            return Outcome.TOO_LARGE
        if not client.is_finished:
            return Outcome.TIMEOUT
        shadow = Heard.of(account, bytes(client.body), self._clock.now_s())
        return await self._compare(model, sent, shadow)

    async def _compare(self, model: str, sent: _Sent, shadow: Heard) -> Outcome:
        """In a thread: large answers take a while."""
        pair = Pair(
            sent.call.request_id,
            sent.ask,
            model,
            sent.mirror.to,
            sent.heard,
            shadow,
            self.records_content,
        )
        found = await anyio.to_thread.run_sync(compared, pair, self._clock.unix_s())
        if found is None:
            return Outcome.UNREADABLE
        self.comparisons.add(found)
        tell(self._metrics, found)
        return Outcome.COMPARED

    def _skip(self, model: str, shadow: str, why: Skipped) -> None:
        self._metrics.skipped.cell(model, shadow, why.value).add()

    def _let_go(self, model: str) -> None:
        self._held[model] -= 1


def _has_room(state: ReplicaState) -> bool:
    """Its last place is left to a real call, unless it has but one."""
    return not state.waiting and state.in_flight < max(1, state.most - 1)


def _has_adapter(state: ReplicaState, variant: Variant) -> bool:
    """Nothing is loaded for a shadow."""
    return variant.adapter is None or state.adapters.has(variant.adapter.name)


def _settle_nothing(_: Account, __: Call) -> None:
    """A mirrored call is no call: nothing is settled for it."""
