"""What metrics are told of one call that has ended."""

from gateway.telemetry.exemplars import Mark
from gateway.telemetry.metrics import Metrics, Route
from gateway.wire.usage import Usage


class Tally:
    """The figures of one call, told once; those that are None did not come to be.

    `input_tokens`, `output_tokens` and `cached_tokens` are the engine's; where it counted none,
    what we counted stands in for those it wrote.
    """

    __slots__ = (
        "_duration_s",
        "_held_s",
        "_metrics",
        "_outcome",
        "_per_token_s",
        "_route",
        "cached_tokens",
        "input_tokens",
        "output_tokens",
        "ttft_s",
    )

    def __init__(
        self,
        metrics: Metrics,
        route: Route,
        outcome: str,
        duration_s: float,
        ttft_s: float | None,
        usage: Usage | None,
        counted_tokens: int,
        held_s: float = 0.0,
    ) -> None:
        """`ttft_s`: of a stream, from the call's arrival. `route`: empty where it got none.

        `held_s` of it the call waited for engines that were away: metrics leave that out.
        """
        self._metrics = metrics
        self._route = route
        self._outcome = outcome
        self._duration_s = duration_s
        self._held_s = held_s
        self.ttft_s = ttft_s
        self._per_token_s: float | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = counted_tokens or None
        self.cached_tokens = 0
        if usage is not None:
            self.input_tokens = usage.prompt_tokens
            self.output_tokens = usage.completion_tokens
            self.cached_tokens = usage.cached_tokens

    def tell(self, caller: str, *, is_whole: bool) -> None:
        """`caller`: empty where there was no valid key. `is_whole`: the answer is."""
        read, written = self.input_tokens or 0, self.output_tokens or 0
        ended = self._metrics.ended(self._route, self._outcome)
        ended.requests.add()
        ended.duration.observe(self._duration_s)
        self._metrics.called(caller, self._outcome, read, written, self.cached_tokens)
        if self.ttft_s is None and not read and not written:
            return
        cells = self._metrics.route(self._route)
        if read:
            cells.input.add(read)
            cells.cached.add(self.cached_tokens)
            cells.used_input.observe(read)
        if written:
            cells.output.add(written)
            cells.used_output.observe(written)
        if self.ttft_s is not None:
            cells.ttft.observe(self.ttft_s - self._held_s)
            if is_whole and written > 1:
                self._per_token_s = (self._duration_s - self.ttft_s) / (written - 1)
                cells.per_output_token.observe(self._per_token_s)

    def mark(self, mark: Mark) -> None:
        """The spans of this call are sent: its figures can be traced to it."""
        self._metrics.ended(self._route, self._outcome).duration.exemplify(self._duration_s, mark)
        if self.ttft_s is not None:
            cells = self._metrics.route(self._route)
            cells.ttft.exemplify(self.ttft_s - self._held_s, mark)
            if self._per_token_s is not None:
                cells.per_output_token.exemplify(self._per_token_s, mark)
