"""Can this broken stream go on elsewhere, and with which request? Pure.

What is true of every engine is decided here; which ways there are to tell an engine what was
said, each adapter knows. A way that an engine refused, or misunderstood, is not tried again.
"""

from collections.abc import Collection
from typing import Final

from gateway.engines.adapter import EngineAdapter
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg, Way
from gateway.errors import DeadlineExceeded, GatewayError, Source
from gateway.wire.ask import Ask

MAX_RESUMES: Final = 2


def decide(
    ask: Ask,
    adapter: EngineAdapter,
    kept: Kept,
    failure: GatewayError,
    *,
    resumes: int,
    avoided: Collection[Way],
) -> Leg | Why:
    """The next leg of the answer, or why there is none.

    `failure` is what broke the answer first; `resumes` how often it was resumed since.
    """
    if not is_the_engines(failure):
        return Why.FAILURE
    if resumes >= MAX_RESUMES:
        return Why.SPENT
    if kept.why is not None:
        return kept.why
    return adapter.next_leg(ask, kept, avoided)


def is_the_engines(failure: GatewayError) -> bool:
    """Whether another engine may do better: not where the call, the client or time is to blame."""
    return failure.source is Source.ENGINE and not isinstance(failure, DeadlineExceeded)
