"""What a call costs in the end, whatever became of it. Pure.

An answer costs what the engine counted, or what we could count where it did not. A call that
failed before anything of an answer was there costs nothing. A client that leaves pays for what
was done for it until then: its prompt, once an engine had it, and what was generated.
"""

import msgspec

from gateway.errors import ClientGone, GatewayError
from gateway.limits.estimate import Estimate
from gateway.wire.usage import Usage


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What is charged."""

    requests: int
    tokens: int


_NOTHING = Spent(0, 0)


def spent(
    estimate: Estimate,
    usage: Usage | None,
    output_tokens: int,
    failure: GatewayError | None,
    attempts: int,
) -> Spent:
    """`output_tokens`: what we counted ourselves, for when the engine did not."""
    if usage is not None:
        return Spent(1, usage.prompt_tokens + usage.completion_tokens)
    if failure is None or output_tokens:
        return Spent(1, estimate.prompt_tokens + output_tokens)
    if isinstance(failure, ClientGone) and attempts:
        return Spent(1, estimate.prompt_tokens)
    return _NOTHING
