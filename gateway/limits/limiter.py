"""Reserve before the answer, settle after it.

A reservation touches every limit of the caller, of the model and of the variant that is to
answer, all at once. It is made for the most that the call may take, and replaced by what it took
when the call is over. Settling is one call without a wait in it, so nothing can interrupt it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.config.access import Rates
from gateway.errors import GatewayError
from gateway.limits.bucket import Bucket, Scope, left
from gateway.limits.estimate import Estimate, Estimator
from gateway.limits.refusals import rate_limited, too_small
from gateway.limits.rules import buckets_for
from gateway.limits.spent import spent
from gateway.limits.store import Hold, LimitStore, Refusal, Usage
from gateway.telemetry.metrics import Metrics
from gateway.wire import usage as wire
from gateway.wire.ask import Ask
from gateway.wire.http import Headers
from gateway.wire.rate_limit import request_limit_headers, token_limit_headers

_MAX_KNOWN: Final = 10_000
_DAY_S: Final = 86400
# how long calls hold their slots, until some have been seen
_USUAL_CALL_S: Final = 1.0
_MEMORY: Final = 0.9
_LEAST_SLOT_WAIT_S: Final = 0.05
_MOST_SLOT_WAIT_S: Final = 10.0


class LimitedCaller(Protocol):
    """Who calls."""

    @property
    def name(self) -> str: ...

    @property
    def rates(self) -> Rates: ...


class LimitedVariant(Protocol):
    """What is to answer. Its limits and its model's are for everybody together."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def limits(self) -> Rates: ...

    @property
    def model_limits(self) -> Rates: ...


class Limits:
    """The buckets of one caller on one variant.

    `most_tokens`: what the smallest bucket of tokens holds; None: tokens are not limited.
    """

    __slots__ = ("buckets", "caller", "most_tokens", "shared", "variant")

    def __init__(self, caller: LimitedCaller, variant: LimitedVariant) -> None:
        self.caller = caller
        self.variant = variant
        self.shared = (
            *buckets_for(Scope.MODEL, variant.model, variant.model_limits),
            *buckets_for(Scope.VARIANT, variant.name, variant.limits),
        )
        self.buckets = (*buckets_for(Scope.KEY, caller.name, caller.rates), *self.shared)
        self.most_tokens = min((b.burst for b in self.buckets if b.is_tokens), default=None)


class Reservation:
    """What one call may take. `hold` None: nothing limits it. `estimate` None: none was needed."""

    __slots__ = ("_limiter", "ask", "estimate", "headers", "hold", "limits", "since_s")

    def __init__(
        self,
        limiter: "Limiter",
        limits: Limits,
        ask: Ask,
        estimate: Estimate | None = None,
        since_s: float = 0.0,
        hold: Hold | None = None,
        headers: Headers = (),
    ) -> None:
        self._limiter = limiter
        self.limits = limits
        self.ask = ask
        self.estimate = estimate
        self.since_s = since_s
        self.hold = hold
        self.headers = headers

    def covers(self, variant: LimitedVariant) -> bool:
        """Whether a call on this variant touches no other limits."""
        limits = self.limits
        if limits.variant is variant:
            return True
        return not limits.shared and not (variant.limits.are_any or variant.model_limits.are_any)

    def settle(
        self,
        usage: wire.Usage | None,
        output_tokens: int,
        failure: GatewayError | None,
        attempts: int,
    ) -> None:
        """The call is over. `output_tokens`: what we counted, where there is no usage."""
        self._limiter.settle(self, usage, output_tokens, failure, attempts)


class Limiter:
    """Decides who may call now."""

    def __init__(self, store: LimitStore, metrics: Metrics, clock: Clock) -> None:
        self.store = store
        self._metrics = metrics
        self._clock = clock
        self._known: dict[tuple[str, str], Limits] = {}
        self._estimators: dict[str, Estimator] = {}
        self._usual_call_s = _USUAL_CALL_S
        self._day = ""
        self._day_ends_s = 0.0

    async def reserve(
        self,
        caller: LimitedCaller,
        variant: LimitedVariant,
        ask: Ask,
        instead_of: Reservation | None = None,
    ) -> Reservation:
        """Raises RateLimited, or LimiterDown. `instead_of` is given back first, in any case."""
        if instead_of is not None and instead_of.hold is not None:
            self.store.settle(instead_of.hold, [0.0] * len(instead_of.hold.claim))
        limits = self._limits(caller, variant)
        if not limits.buckets:
            return Reservation(self, limits, ask)
        estimate = None
        tokens = 0
        if limits.most_tokens is not None:
            estimate = self._estimator(variant.model).estimate(ask)
            tokens = estimate.prompt_tokens + estimate.output_tokens
            if tokens > limits.most_tokens:
                raise self._too_small(limits, tokens)
        claim = tuple([(b, tokens if b.is_tokens else 1) for b in limits.buckets])
        verdict = await self.store.take(claim)
        if isinstance(verdict, Refusal):
            raise self._refused(limits, verdict)
        headers = headers_for(limits.buckets, verdict.lacks)
        return Reservation(self, limits, ask, estimate, self._clock.now_s(), verdict, headers)

    def settle(
        self,
        reservation: Reservation,
        usage: wire.Usage | None,
        output_tokens: int,
        failure: GatewayError | None,
        attempts: int,
    ) -> None:
        estimate, limits, hold = reservation.estimate, reservation.limits, reservation.hold
        model = limits.variant.model
        if usage is None and estimate is None:
            estimate = self._estimator(model).estimate(reservation.ask)
        prompt_tokens = 0 if estimate is None else estimate.prompt_tokens
        requests, tokens = spent(prompt_tokens, usage, output_tokens, failure, attempts)
        if hold is not None:
            costs = [tokens if b.is_tokens else requests for b in limits.buckets]
            self.store.settle(hold, costs)
            held_s = self._clock.now_s() - reservation.since_s
            self._usual_call_s = self._usual_call_s * _MEMORY + held_s * (1 - _MEMORY)
        if usage is None:
            usage = wire.Usage(prompt_tokens if requests else 0, output_tokens)
        elif estimate is not None and failure is None:
            self._learn(model, estimate, usage)
        self._record(limits, usage, is_error=failure is not None)

    def buckets_of(self, caller: LimitedCaller) -> tuple[Bucket, ...]:
        """The caller's own, whichever model it asks for."""
        return buckets_for(Scope.KEY, caller.name, caller.rates)

    def _limits(self, caller: LimitedCaller, variant: LimitedVariant) -> Limits:
        name = (caller.name, variant.name)
        limits = self._known.get(name)
        # a reload, or a changed key, makes new callers and variants of the same names
        if limits is None or limits.caller is not caller or limits.variant is not variant:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            limits = self._known[name] = Limits(caller, variant)
        return limits

    def _estimator(self, model: str) -> Estimator:
        known = self._estimators.get(model)
        if known is None:
            known = self._estimators[model] = Estimator()
        return known

    def _learn(self, model: str, estimate: Estimate, usage: wire.Usage) -> None:
        cells = self._metrics.estimates(model)
        if usage.prompt_tokens:
            cells.prompt.observe(estimate.prompt_tokens / usage.prompt_tokens)
        if usage.completion_tokens:
            cells.output.observe(estimate.output_tokens / usage.completion_tokens)
        self._estimator(model).learn(estimate, usage)

    def _record(self, limits: Limits, usage: wire.Usage, *, is_error: bool) -> None:
        self.store.record(
            Usage(
                self._today(),
                limits.caller.name,
                limits.variant.model,
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens,
                1,
                int(is_error),
            )
        )

    def _today(self) -> str:
        now_s = self._clock.unix_s()
        if not self._day_ends_s - _DAY_S <= now_s < self._day_ends_s:
            self._day = datetime.fromtimestamp(now_s, UTC).date().isoformat()
            self._day_ends_s = (now_s // _DAY_S + 1) * _DAY_S
        return self._day

    def _slot_wait_s(self, bucket: Bucket) -> float:
        """When a slot may be free: nobody knows, but calls take their usual time."""
        expected_s = self._usual_call_s / bucket.limit
        return min(_MOST_SLOT_WAIT_S, max(_LEAST_SLOT_WAIT_S, expected_s))

    def _too_small(self, limits: Limits, tokens: int) -> GatewayError:
        bucket = next(b for b in limits.buckets if b.is_tokens and tokens > b.burst)
        self._note_refusal(limits, bucket)
        return too_small(bucket, tokens)

    def _refused(self, limits: Limits, refusal: Refusal) -> GatewayError:
        bucket, cost = refusal.claim[refusal.index]
        self._note_refusal(limits, bucket)
        wait_s = self._slot_wait_s(bucket) if bucket.is_slots else refusal.wait_us / 1e6
        refused = rate_limited(bucket, refusal.lacks[refusal.index], cost, wait_s)
        refused.headers = headers_for(limits.buckets, refusal.lacks)
        return refused

    def _note_refusal(self, limits: Limits, bucket: Bucket) -> None:
        self._metrics.refusals.cell(bucket.scope.value, bucket.rule).add()
        self._record(limits, wire.Usage(0, 0), is_error=True)


def headers_for(buckets: Sequence[Bucket], lacks: Sequence[float]) -> Headers:
    """OpenAI's headers for the tightest limit of requests and of tokens: that with least left."""
    requests: Bucket | None = None
    tokens: Bucket | None = None
    requests_left = tokens_left = 0
    requests_lack = tokens_lack = 0.0
    for bucket, lack in zip(buckets, lacks, strict=True):
        if bucket.is_slots:
            continue
        remaining = left(bucket, lack)
        if bucket.is_tokens:
            if tokens is None or remaining < tokens_left:
                tokens, tokens_left, tokens_lack = bucket, remaining, lack
        elif requests is None or remaining < requests_left:
            requests, requests_left, requests_lack = bucket, remaining, lack
    if requests is None:
        if tokens is None:
            return ()
        return token_limit_headers(tokens.limit, tokens_left, tokens_lack)
    told = request_limit_headers(requests.limit, requests_left, requests_lack)
    if tokens is None:
        return told
    return told + token_limit_headers(tokens.limit, tokens_left, tokens_lack)
