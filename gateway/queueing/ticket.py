"""A call that has waited and got its place: what it was charged, until it is known what it took."""

from typing import Final

from gateway.errors import ClientGone, DeadlineExceeded, GatewayError
from gateway.queueing.counters import Tally
from gateway.wire.usage import Usage

# the engine worked until then, and nobody knows on how much
_CUT_OFF: Final = (ClientGone, DeadlineExceeded)


class Ticket:
    """`held`: the charge, in weighted tokens. `prompt_tokens` is an estimate."""

    __slots__ = ("_is_open", "_since_s", "held", "prompt_tokens", "tally")

    def __init__(self, tally: Tally, held: float, prompt_tokens: float, now_s: float) -> None:
        self.tally = tally
        self.held = held
        self.prompt_tokens = prompt_tokens
        self._since_s = now_s
        self._is_open = True

    def refund(self) -> None:
        """The call goes on elsewhere: nothing was served here."""
        if self._is_open:
            self._is_open = False
            self.tally.charge(-self.held)

    def settle(
        self,
        usage: Usage | None,
        output_tokens: int,
        failure: GatewayError | None,
        now_s: float,
    ) -> None:
        """The call is over. `output_tokens`: what we counted, where there is no usage.

        A call that was cut off before anything of an answer was there costs what was held for
        it; one that failed, nothing.
        """
        if not self._is_open:
            return
        if failure is None or isinstance(failure, _CUT_OFF):
            self.tally.took(now_s - self._since_s, is_whole=failure is None)
        if usage is not None:
            self.tally.settle(self.held, usage.prompt_tokens, usage.completion_tokens)
        elif failure is None or output_tokens:
            self.tally.settle(self.held, self.prompt_tokens, output_tokens)
        elif not isinstance(failure, _CUT_OFF):
            self.refund()
        self._is_open = False
