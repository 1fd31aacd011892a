"""The story of one call as it is kept and told. On its own, as `request_line` is.

Times are milliseconds; those that are None did not come to be.
"""

import msgspec


class TryTold(msgspec.Struct, omit_defaults=True, gc=False):
    """One try on one replica. `began_ms` is since the call's arrival, the rest since that.

    `kind`: first, retry, hedge or resume. `client_blocked_ms`: how long the client did not read
    what was ready for it.
    """

    replica: str
    variant: str
    kind: str
    began_ms: float
    took_ms: float
    connected_ms: float | None = None
    first_token_ms: float | None = None
    client_blocked_ms: float = 0.0
    span_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    outdone: bool = False


class StoryTold(msgspec.Struct, omit_defaults=True, gc=False):
    """All tries of a call in the order in which they began. `queue_ms`: before the first.

    `left_out` of them, in the middle, were too many to be kept.
    """

    tries: list[TryTold] = []
    queue_ms: float = 0.0
    left_out: int = 0


class Parts(msgspec.Struct, gc=False):
    """Where the time of a call went, one after the other. What did not happen is None.

    queue: waiting for a free replica. route: reading the call, its key, limits and choosing a
    replica. retries: tries that failed, and the waits between them. connect: the connection to
    the engine. first_token: the engine's queue and prefill, until the first content; answer: the
    same and decoding, for what is not streamed. stream: from the first content to the end.
    """

    queue_ms: float = 0.0
    route_ms: float = 0.0
    retries_ms: float = 0.0
    connect_ms: float = 0.0
    first_token_ms: float | None = None
    answer_ms: float | None = None
    stream_ms: float | None = None


def parts_of(told: StoryTold, *, stream: bool, duration_ms: float) -> Parts:
    """The parts of a call that took `duration_ms` until now."""
    parts = Parts(queue_ms=_ms(told.queue_ms))
    if not told.tries:
        parts.route_ms = _ms(duration_ms - told.queue_ms)
        return parts
    first, one = told.tries[0], _answering(told.tries)
    parts.route_ms = _ms(first.began_ms - told.queue_ms)
    parts.retries_ms = _ms(one.began_ms - first.began_ms)
    if one.connected_ms is None:
        parts.connect_ms = _ms(one.took_ms)
        return parts
    parts.connect_ms = _ms(one.connected_ms)
    if one.first_token_ms is not None:
        parts.first_token_ms = _ms(one.first_token_ms - one.connected_ms)
        parts.stream_ms = _ms(duration_ms - one.began_ms - one.first_token_ms)
    elif stream:
        parts.first_token_ms = _ms(one.took_ms - one.connected_ms)
    else:
        parts.answer_ms = _ms(one.took_ms - one.connected_ms)
    return parts


def _answering(tries: list[TryTold]) -> TryTold:
    """The try whose content the client got first, else the one that answered, else the last."""
    for one in tries:
        if one.first_token_ms is not None and not one.outdone:
            return one
    for one in reversed(tries):
        if one.error_code is None and not one.outdone:
            return one
    return tries[-1]


def _ms(value: float) -> float:
    return round(max(0.0, value), 3)
