"""What happened to one call, and when: tries on replicas, and what each waited for.

Recorded once, as plain numbers, while the call runs. Spans, the `server-timing` header and
`/admin/requests` are all told from here, when somebody wants them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.errors import GatewayError, Source
from gateway.fleet.replica_state import ReplicaState
from gateway.telemetry.told_story import StoryTold, TryTold
from gateway.telemetry.tracing import Context
from gateway.wire.http import Headers

if TYPE_CHECKING:
    from gateway.proxy.recorded_answer import RecordedAnswer
    from gateway.wire.ask import Ask

FIRST: Final = "first"
RETRY: Final = "retry"
HEDGE: Final = "hedge"
RESUME: Final = "resume"


class Try:
    """One try on one replica. Times are on the gateway's clock; None: it did not come to that.

    `outdone`: another try answered first. `span` is 0 where nothing is traced.
    """

    __slots__ = (
        "_blocked_since_s",
        "_now_s",
        "began_s",
        "client_blocked_s",
        "connected_s",
        "ended_s",
        "failure",
        "first_content_s",
        "kind",
        "outdone",
        "span",
        "state",
    )

    def __init__(
        self, state: ReplicaState, kind: str, span: int, now_s: Callable[[], float]
    ) -> None:
        self._now_s = now_s
        self._blocked_since_s: float | None = None
        self.began_s = now_s()
        self.client_blocked_s = 0.0
        self.connected_s: float | None = None
        self.ended_s: float | None = None
        self.failure: GatewayError | None = None
        self.first_content_s: float | None = None
        self.kind = kind
        self.outdone = False
        self.span = span
        self.state = state

    def connected(self) -> None:
        """There is a connection to the engine, and the request is about to be sent."""
        self.connected_s = self._now_s()

    def blocked(self) -> None:
        """The client does not read what is ready for it."""
        if self._blocked_since_s is None:
            self._blocked_since_s = self._now_s()

    def unblocked(self) -> None:
        if self._blocked_since_s is not None:
            self.client_blocked_s += self._now_s() - self._blocked_since_s
            self._blocked_since_s = None

    def end(self, failure: GatewayError | None = None, *, outdone: bool = False) -> None:
        """The try is over. Only the first time counts."""
        if self.ended_s is None:
            self.unblocked()
            self.ended_s = self._now_s()
            self.failure = failure
            self.outdone = outdone


class Story:
    """One call. `context` None: nothing is traced; then a caller's own trace passes through.

    `queue_s` is how long it waited for a free replica before its first try. `shows_timing`: its
    client is told with the answer. `recorded` is the answer, where traces have content.
    """

    __slots__ = (
        "_new_span",
        "_now_s",
        "_passed",
        "ask",
        "context",
        "queue_s",
        "received_s",
        "recorded",
        "shows_timing",
        "tries",
    )

    def __init__(
        self,
        received_s: float,
        now_s: Callable[[], float],
        context: Context | None = None,
        new_span: Callable[[], int] | None = None,
        passed: Headers = (),
    ) -> None:
        """`passed`: headers of the caller's own trace, for where we do not trace."""
        self._new_span = new_span
        self._now_s = now_s
        self._passed = passed
        self.ask: Ask | None = None
        self.context = context
        self.queue_s = 0.0
        self.received_s = received_s
        self.recorded: RecordedAnswer | None = None
        self.shows_timing = False
        self.tries: list[Try] = []

    def begin(self, state: ReplicaState, kind: str) -> Try:
        """A try on a replica begins."""
        span = 0 if self._new_span is None else self._new_span()
        one = Try(state, kind, span, self._now_s)
        self.tries.append(one)
        return one

    def headers(self, one: Try) -> Headers:
        """What the engine is told of the trace."""
        context = self.context
        return self._passed if context is None else context.headers(one.span)

    @property
    def went_wrong(self) -> bool:
        """Whether a try failed for no fault of the client's, though the call may have answered."""
        for one in self.tries:
            if one.failure is not None and one.failure.source is not Source.CLIENT:
                return True
        return False

    def told(self, now_s: float) -> StoryTold:
        """As it is until now."""
        return StoryTold([self._told(one, now_s) for one in self.tries], _ms(self.queue_s))

    def _told(self, one: Try, now_s: float) -> TryTold:
        began_s, failure = one.began_s, one.failure
        ended_s = now_s if one.ended_s is None else one.ended_s
        told = TryTold(
            one.state.name,
            one.state.variant.name,
            one.kind,
            _ms(began_s - self.received_s),
            _ms(ended_s - began_s),
        )
        if one.connected_s is not None:
            told.connected_ms = _ms(one.connected_s - began_s)
        if one.first_content_s is not None:
            told.first_token_ms = _ms(one.first_content_s - began_s)
        if one.client_blocked_s:
            told.client_blocked_ms = _ms(one.client_blocked_s)
        if one.span:
            told.span_id = f"{one.span:016x}"
        if failure is not None:
            told.error_code = failure.code or "error"
            told.error = failure.public
        told.outdone = one.outdone
        return told


def _ms(seconds: float) -> float:
    return seconds * 1000.0
