"""What a call costs in the end, whatever became of it. Pure.

An answer costs what the engine counted, or what we could count where it did not. A call that
failed before anything of an answer was there costs nothing. A client that leaves pays for what
was done for it until then: its prompt, once an engine had it, and what was generated.
"""

from gateway.errors import ClientGone, GatewayError
from gateway.wire.usage import Usage


def spent(
    prompt_tokens: int,
    usage: Usage | None,
    output_tokens: int,
    failure: GatewayError | None,
    attempts: int,
) -> tuple[int, int]:
    """Requests and tokens that are charged.

    `prompt_tokens` is the estimate, `output_tokens` what we counted ourselves: both for when the
    engine did not count.
    """
    if usage is not None:
        return 1, usage.prompt_tokens + usage.completion_tokens
    if failure is None or output_tokens:
        return 1, prompt_tokens + output_tokens
    if isinstance(failure, ClientGone) and attempts:
        return 1, prompt_tokens
    return 0, 0
