"""Which trace a call belongs to, and whether its spans are kept. No I/O.

The head decides what engines are told: a caller's `traceparent` is followed, and without one a
share of the calls is sampled by trace id, as OpenTelemetry's samplers do it. The tail decides
what we send: what was sampled, and whatever failed, was tried again or was slow. Until then a
call has no spans, only ids, so what is dropped costs next to nothing.

Source: W3C Trace Context (traceparent, tracestate); OpenTelemetry SDK, TraceIdRatioBased.
"""

import random
import re
from typing import Final

from gateway.wire.http import Headers

_TRACEPARENT: Final = re.compile(
    rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_NEWEST_KNOWN: Final = b"00"
_INVALID_VERSION: Final = b"ff"
_MAX_TRACESTATE_BYTES: Final = 512
_SAMPLED: Final = 1
_LOW: Final = (1 << 64) - 1


class Context:
    """One call's place in a trace. `parent` is the caller's span id, 0 where it named none.

    `is_sampled`: what the caller decided, or our ratio; engines are told the same.
    """

    __slots__ = ("is_sampled", "parent", "state", "trace")

    def __init__(self, trace: int, parent: int, state: bytes, *, is_sampled: bool) -> None:
        self.trace = trace
        self.parent = parent
        self.state = state
        self.is_sampled = is_sampled

    @property
    def trace_id(self) -> str:
        return f"{self.trace:032x}"

    def headers(self, span: int) -> Headers:
        """What an engine is sent, so that its spans become children of this one."""
        parent = b"00-%032x-%016x-%02x" % (self.trace, span, self.is_sampled)
        if not self.state:
            return ((b"traceparent", parent),)
        return ((b"traceparent", parent), (b"tracestate", self.state))


def read_context(traceparent: bytes | None, tracestate: bytes | None) -> Context | None:
    """What a caller sent; None where that is no valid `traceparent`."""
    if traceparent is None:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match[1] == _INVALID_VERSION:
        return None
    if match[5] is not None and match[1] == _NEWEST_KNOWN:
        return None  # only later versions may say more
    trace, parent = int(match[2], 16), int(match[3], 16)
    if not trace or not parent:
        return None
    state = tracestate or b""
    if len(state) > _MAX_TRACESTATE_BYTES or not state.isascii():
        state = b""
    return Context(trace, parent, state, is_sampled=bool(int(match[4], 16) & _SAMPLED))


class Sampler:
    """Decides at both ends of a call.

    `ratio`: the share of calls without a caller's decision that is sampled, 0 to 1. Calls of at
    least `slow_s` are always kept.
    """

    def __init__(self, ratio: float, slow_s: float, rng: random.Random) -> None:
        self.slow_s = slow_s
        self.ratio = ratio
        self._rng = rng

    @property
    def ratio(self) -> float:
        return self._ratio

    @ratio.setter
    def ratio(self, ratio: float) -> None:
        self._ratio = ratio
        self._bound = round(ratio * (_LOW + 1))

    def begin(self, traceparent: bytes | None, tracestate: bytes | None) -> Context:
        """The context of a call that arrives."""
        given = None if traceparent is None else read_context(traceparent, tracestate)
        if given is not None:
            return given
        trace = self._rng.getrandbits(128) or 1
        return Context(trace, 0, b"", is_sampled=(trace & _LOW) < self._bound)

    def new_span(self) -> int:
        """An id for a span."""
        return self._rng.getrandbits(64) or 1

    def keeps(self, context: Context, duration_s: float, *, went_wrong: bool) -> bool:
        """Whether the spans of a call that has ended are sent."""
        return context.is_sampled or went_wrong or duration_s >= self.slow_s
