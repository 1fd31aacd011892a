"""One request and what came of it, in values. No I/O."""

from array import array
from dataclasses import dataclass, field

import msgspec

from gateway.remote.failure import Failure
from gateway.remote.reading import Reading
from gateway.wire.usage import Usage


@dataclass(frozen=True, slots=True)
class Question:
    """A request for a streamed answer. `path` begins behind `/v1`: `/chat/completions`."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Times are seconds of one clock that never steps.

    `times_s`: when each event with content arrived; empty when none did. `failure` None: whole.
    `usage` None: the endpoint gave none.
    """

    sent_s: float
    ended_s: float
    times_s: "array[float]" = field(default_factory=lambda: array("d"))
    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    logprobs: tuple[msgspec.Raw, ...] = ()

    @property
    def completion_tokens(self) -> int:
        """As the endpoint counted; events with content where it did not."""
        return len(self.times_s) if self.usage is None else self.usage.completion_tokens


def answer_of(
    reading: Reading, sent_s: float, ended_s: float, failure: Failure | None = None
) -> Answer:
    """What was read, at its end. `failure`: of the transport; it tells more than the reading's.

    An answer ended when its last bytes came, a failed one when the failure was known.
    """
    failure = failure or reading.failure
    return Answer(
        sent_s=sent_s,
        ended_s=ended_s if failure or reading.last_s is None else reading.last_s,
        times_s=reading.times_s,
        text=reading.text,
        finish_reason=reading.finish_reason,
        usage=reading.usage,
        failure=failure,
        logprobs=tuple(reading.logprobs),
    )
