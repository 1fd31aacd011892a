"""A call that has waited and got its place: what it was charged, until it is known what it took."""

from gateway.queueing.counters import Tally
from gateway.queueing.flow import Flow
from gateway.wire.usage import Usage


class Ticket:
    """`held`: the charge, in weighted tokens. `prompt_tokens` is an estimate."""

    __slots__ = ("_flow", "_is_open", "_since_s", "held", "prompt_tokens", "tally")

    def __init__(
        self, tally: Tally, flow: Flow, held: float, prompt_tokens: float, now_s: float
    ) -> None:
        self.tally = tally
        self.held = held
        self.prompt_tokens = prompt_tokens
        self._flow = flow
        self._since_s = now_s
        self._is_open = True

    def refund(self) -> None:
        """The call goes on elsewhere: nothing was served here."""
        if self._is_open:
            self._is_open = False
            self.tally.charge(-self.held)

    def settle(
        self, usage: Usage | None, output_tokens: int, now_s: float, *, is_whole: bool
    ) -> None:
        """The call is over. `output_tokens`: what we counted, where there is no usage.

        A call that failed before anything of an answer was there costs nothing.
        """
        if not self._is_open:
            return
        self._is_open = False
        if usage is not None:
            self.tally.settle(self.held, usage.prompt_tokens, usage.completion_tokens)
        elif is_whole or output_tokens:
            self.tally.settle(self.held, self.prompt_tokens, output_tokens)
        else:
            self.tally.settle(self.held, 0, 0)
        if is_whole:
            self._flow.kept(now_s - self._since_s)
