"""Settle one call, exactly once, whatever happened: lease, limits, metrics, log line.

The exchange tells the account what it learns; `close` is the only place where a call's end is
recorded.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from gateway.clock import Clock
from gateway.errors import ClientGone, GatewayError, Source
from gateway.fleet.gradient import Signal
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.fleet.state import FleetState
from gateway.proxy.call import Call
from gateway.proxy.client import Client
from gateway.proxy.retry import Stop
from gateway.proxy.stories import Stories
from gateway.proxy.story import FIRST, RETRY, Story, Try
from gateway.proxy.tally import Tally
from gateway.routing.resolve import Why
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.logs import RequestLog
from gateway.telemetry.metrics import Metrics, Route
from gateway.telemetry.recent_failures import RecentFailures
from gateway.telemetry.request_line import RequestLine
from gateway.wire.prefix import NO_PREFIX

if TYPE_CHECKING:
    from gateway.engines.kept import Kept
    from gateway.fleet.catalog import Variant
    from gateway.fleet.loadable import Adapter
    from gateway.limits.limiter import Reservation
    from gateway.queueing.refusals import Refused
    from gateway.queueing.ticket import Ticket
    from gateway.wire.usage import Usage

_NO_ROUTE = ("", "", "")
_OK = "ok"
_OUTDONE = "outdone"
_OUTCOMES = {
    Source.CLIENT: "client_error",
    Source.ENGINE: "engine_error",
    Source.GATEWAY: "gateway_error",
}


class Hedge(StrEnum):
    """How a second try beside the first ended: it answered first, or the other, or neither did."""

    WON = "won"
    LOST = "lost"
    FAILED = "failed"


def route_of(state: ReplicaState, adapter: "Adapter | None" = None) -> Route:
    """Model, variant and replica, as metrics and logs name them. An adapter is a model."""
    variant = state.variant
    if adapter is None:
        return (variant.model, variant.name, state.name)
    tagged = f"{adapter.name}:{variant.tag}" if variant.tag else adapter.name
    return (adapter.name, tagged, state.name)


class Account:
    """What is known of one call. Attributes are set by the exchange while it runs.

    `output_tokens` stands in for the engine's usage: events with content, or words of an answer.
    `first_content_s`: when the engine said something; for a stream, when its client got it.
    `tried` is the lease of the last try, released or not; `is_trying`: how it ended is not
    counted yet.
    `queued_s` is how long it has waited in line, `held_s` how much of it for engines that were
    away; `ticket` is what it was charged for the place.
    `prefix` is what the prompt begins with, where the policy reads that.
    `asked` is the catalog's name of what it asks for, "" until that is known.
    `adapter` is what the call asks for on the engines of another model; None: the model itself.
    `chosen`: why its variant answers, where that is worth telling.
    `kept` is what of a streamed answer allows to resume it; None: it cannot be resumed.
    """

    __slots__ = (
        "_call",
        "_is_open",
        "_lease",
        "_settle",
        "_trying",
        "adapter",
        "asked",
        "attempts",
        "caller",
        "chosen",
        "failure",
        "finish_reason",
        "first_content_s",
        "hedge",
        "held_s",
        "is_trying",
        "kept",
        "output_tokens",
        "prefix",
        "queued_s",
        "reservation",
        "resume_refused",
        "resumes",
        "retry_refused",
        "route",
        "story",
        "stream",
        "ticket",
        "tried",
        "usage",
    )

    def __init__(self, call: Call, settle: Callable[["Account", Call], None], story: Story) -> None:
        self._call = call
        self._settle = settle
        self._is_open = True
        self._lease: Lease | None = None
        self.tried: Lease | None = None
        self.adapter: Adapter | None = None
        self.asked = ""
        self.attempts = 0
        self.is_trying = False
        self.caller: str | None = None
        self.chosen: Why | None = None
        self.failure: GatewayError | None = None
        self.finish_reason: str | None = None
        self.first_content_s: float | None = None
        self.hedge: Hedge | None = None
        self.output_tokens = 0
        self.prefix = NO_PREFIX
        self.queued_s = 0.0
        self.held_s = 0.0
        self.ticket: Ticket | None = None
        self.reservation: Reservation | None = None
        self.retry_refused: Stop | None = None
        self.kept: Kept | None = None
        self.resume_refused: str | None = None
        self.resumes = 0
        self.route = _NO_ROUTE
        self.story = story
        self.stream = False
        self._trying: Try | None = None
        self.usage: Usage | None = None

    def attempt(self, lease: Lease, kind: str | None = None) -> None:
        """A try on this lease's replica begins. `kind` None: the first, or a retry."""
        self._trying = self.story.begin(lease.state, kind or (RETRY if self.attempts else FIRST))
        self.attempts += 1
        self.is_trying = True
        self._lease = self.tried = lease
        self.route = route_of(lease.state, self.adapter)

    def began(self) -> None:
        """The first content is there."""
        if self.tried is not None:
            self.tried.began()

    @property
    def trying(self) -> Try:
        """The try that runs, or ran last. Only to be asked when there was one."""
        return cast("Try", self._trying)

    @trying.setter
    def trying(self, one: Try) -> None:
        self._trying = one

    def end_try(self, failure: GatewayError | None, *, outdone: bool = False) -> None:
        """The last try is over, if there was one."""
        if self._trying is not None:
            self._trying.end(failure, outdone=outdone)

    def adopt(self, other: "Account") -> None:
        """Another account's answer is this call's."""
        self.finish_reason = other.finish_reason
        self.first_content_s = other.first_content_s
        self.kept = other.kept
        self.output_tokens = other.output_tokens
        self.resume_refused = other.resume_refused
        self.resumes = other.resumes
        self.route = other.route
        self.tried = other.tried
        self.trying = other.trying
        self.usage = other.usage

    def begin_again(self) -> None:
        """Nothing of what came until now counts: the client has not seen it."""
        self.first_content_s = self.finish_reason = self.kept = self.usage = None
        self.output_tokens = 0

    def release(self) -> None:
        """The try is over."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def close(self) -> None:
        """The call is over. Only the first time counts."""
        if self._is_open:
            self._is_open = False
            self.release()
            self._settle(self, self._call)


class Bookkeeper:
    """Opens accounts and records how they close; the fleet learns how every try ended."""

    def __init__(
        self,
        metrics: Metrics,
        request_log: RequestLog,
        clock: Clock,
        fleet: FleetState,
        stories: Stories | None = None,
    ) -> None:
        self._metrics = metrics
        self._log = request_log
        self._clock = clock
        self._fleet = fleet
        self.failures = RecentFailures()
        self._stories = stories or Stories(clock)
        self.open_calls = 0

    def open(self, call: Call) -> Account:
        self.open_calls += 1
        return Account(call, self._settle, self._stories.begin(call))

    def recording(self, account: Account, client: Client) -> Client:
        """The client to answer; a trace may keep what it is told."""
        return self._stories.recording(account.story, client)

    def chosen(self, account: Account, asked: str, variant: "Variant", why: Why) -> None:
        """A call goes to one of several variants; `asked`: a model, or a split."""
        self._metrics.choices.cell(asked, variant.name, why.value).add()
        if why is not Why.FIRST:
            account.chosen = why

    def failed_attempt(self, account: Account, failure: GatewayError) -> None:
        """A try that did not answer; the call may go on elsewhere."""
        account.is_trying = False
        account.end_try(failure)
        self._metrics.attempts.cell(*account.route, failure.code or "error").add()
        if account.tried is not None:
            self._fleet.observed(account.tried, failure, self._clock.now_s())

    def refused_retry(self, account: Account, model: str, why: Stop) -> None:
        """The failure of the last try stands, although another replica is there."""
        if why is not Stop.FINAL:
            account.retry_refused = why
            self._metrics.retries_refused.cell(model, why.value).add()

    def hedged(
        self, account: Account, outcome: Hedge, loser: Account, failure: GatewayError | None
    ) -> None:
        """Two tries ran beside each other. `failure` None: the loser was stopped."""
        loser.end_try(failure, outdone=failure is None)
        account.hedge = outcome
        self._metrics.hedges.cell(account.route[0], outcome.value).add()
        code = _OUTDONE if failure is None else failure.code or "error"
        self._metrics.attempts.cell(*loser.route, code).add()
        if failure is not None and loser.tried is not None:
            self._fleet.observed(loser.tried, failure, self._clock.now_s())

    def waited(self, account: Account, variant: "Variant", priority: str) -> None:
        """A call has got a replica after it had waited for one that was free, or that was there."""
        waited_s = account.queued_s - account.held_s
        if waited_s > 0 or not account.held_s:
            cell = self._metrics.queue_wait.cell(variant.model, variant.name, priority)
            cell.observe(waited_s)
        if account.held_s:
            self._metrics.wake_wait.cell(variant.model, variant.name).observe(account.held_s)

    def turned_away(self, variant: "Variant", priority: str, why: "Refused") -> None:
        """A call may not wait for a replica, or not any longer."""
        self._metrics.queue_refusals.cell(variant.model, variant.name, priority, why.value).add()

    def resumed(self, account: Account, outcome: str) -> None:
        """A stream broke after content; `outcome`: how it went on, or why it did not."""
        self._metrics.resumes.cell(*account.route, outcome).add()

    def _settle(self, account: Account, call: Call) -> None:
        self.open_calls -= 1
        failure = account.failure
        account.end_try(failure)
        now_s = self._clock.now_s()
        duration_s = now_s - call.received_s
        outcome = _OK if failure is None else _outcome(failure)
        ttft_s = None
        if account.stream and account.first_content_s is not None:
            ttft_s = account.first_content_s - call.received_s
        tally = Tally(
            self._metrics,
            account.route,
            outcome,
            duration_s,
            ttft_s,
            account.usage,
            account.output_tokens,
            account.held_s,
        )
        tally.tell(account.caller or "", is_whole=failure is None)
        self._end(account, failure, now_s, duration_s)
        model, variant, replica = account.route
        line = RequestLine(
            round(self._clock.unix_s(), 3),
            "info",
            F.REQUEST,
            call.request_id,
            call.operation.value,
            account.stream,
            account.attempts,
            outcome,
            200 if failure is None else failure.status,
            round(duration_s * 1000, 2),
            len(call.body),
            account.caller,
            model or account.asked or None,
            variant or None,
            replica or None,
            account.finish_reason,
            None if ttft_s is None else round(ttft_s * 1000, 2),
            tally.input_tokens,
            tally.output_tokens,
            tally.cached_tokens or None,
        )
        if account.hedge is not None:
            line.hedge = account.hedge.value
        if account.resumes:
            line.resumes = account.resumes
        line.resume_refused = account.resume_refused
        if account.chosen is not None:
            line.chosen = account.chosen.value
        line.queue_ms = round(account.queued_s * 1000, 2) or None
        if failure is not None:
            line.error_code = failure.code
            line.error_source = failure.source.value
            line.error_cause = failure.public
            if account.retry_refused is not None:
                line.retry_refused = account.retry_refused.value
            self.failures.add(line)
        story = account.story
        line.trace_id = self._stories.trace_id(story, call, duration_s, failure)
        if call.sdk_retry is not None:
            line.sdk_retry = call.sdk_retry.decode("latin-1")
        mark = self._stories.end(story, line, self._log.write(line), now_s, failure)
        if mark is not None:
            tally.mark(mark)

    def _end(
        self, account: Account, failure: GatewayError | None, now_s: float, duration_s: float
    ) -> None:
        """Settle what was held for the call, and let the fleet know how its last try ended."""
        if account.reservation is not None:
            account.reservation.settle(
                account.usage, account.output_tokens, failure, account.attempts
            )
        if account.ticket is not None:
            account.ticket.settle(account.usage, account.output_tokens, failure, now_s)
        if account.tried is None:
            return
        if failure is not None:  # the client, a deadline or a bug ended it
            if account.is_trying:
                self._metrics.attempts.cell(*account.route, failure.code or "error").add()
            return
        self._metrics.attempts.cell(*account.route, _OK).add()
        self._fleet.observed(account.tried, None, now_s)
        if account.attempts == 1:
            account.tried.state.answered(duration_s - account.queued_s)
        if account.tried.since_s is not None:
            self._time(account, account.tried, account.tried.since_s, now_s)

    def _time(self, account: Account, lease: Lease, since_s: float, now_s: float) -> None:
        """Let the fleet know how long this answer took, where its target goes by that."""
        if account.resumes or account.hedge is not None:
            return
        first_s = account.first_content_s
        if first_s is not None:
            self._fleet.timed(lease, Signal.FIRST_TOKEN, first_s - since_s, now_s)
            return
        usage = account.usage
        tokens = account.output_tokens if usage is None else usage.completion_tokens
        self._fleet.timed(lease, Signal.PER_TOKEN, (now_s - since_s) / max(1, tokens), now_s)


def _outcome(failure: GatewayError) -> str:
    if isinstance(failure, ClientGone):
        return "client_gone"
    return _OUTCOMES[failure.source]
