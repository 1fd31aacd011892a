"""What came of one request of a load test. No I/O.

Every latency counts from the moment the request was *meant* to start. A client that falls behind,
or an endpoint that makes it fall behind, cannot hide the wait of the requests it sent late.
"""

from array import array
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.remote.answer import Answer
from gateway.remote.failure import Failure


@dataclass(frozen=True, slots=True)
class Outcome:
    """Times are seconds since the test began. `first_s` None: no content came.

    `times_s`: each event with content. `failure` None: a whole answer. `counted`: whether the
    endpoint counted the tokens; else the completion's are events with content, the prompt's 0.
    """

    number: int
    intended_s: float
    sent_s: float
    ended_s: float
    times_s: "array[float]" = field(default_factory=lambda: array("d"))
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = False
    finish_reason: str | None = None
    failure: Failure | None = None

    @property
    def is_whole(self) -> bool:
        return self.failure is None

    @property
    def lag_s(self) -> float:
        """How late the client sent it."""
        return self.sent_s - self.intended_s

    @property
    def ttft_s(self) -> float | None:
        """To the first content; None when none came."""
        return self.times_s[0] - self.intended_s if self.times_s else None

    @property
    def e2e_s(self) -> float:
        """To the last byte of the answer."""
        return self.ended_s - self.intended_s

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first: what a reader feels; None of a single token."""
        if self.completion_tokens < 2 or not self.times_s:
            return None
        return (self.times_s[-1] - self.times_s[0]) / (self.completion_tokens - 1)

    def gaps_s(self) -> list[float]:
        """Between events with content, one after another."""
        return [after - before for before, after in pairwise(self.times_s)]


def outcome_of(number: int, intended_s: float, answer: Answer, began_s: float) -> Outcome:
    """`intended_s` since the beginning, which was at `began_s` of the answer's clock."""
    usage = answer.usage
    return Outcome(
        number=number,
        intended_s=intended_s,
        sent_s=answer.sent_s - began_s,
        ended_s=answer.ended_s - began_s,
        times_s=array("d", (at_s - began_s for at_s in answer.times_s)),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        cached_tokens=usage.cached_tokens if usage else 0,
        completion_tokens=answer.completion_tokens,
        counted=usage is not None,
        finish_reason=answer.finish_reason,
        failure=answer.failure,
    )
