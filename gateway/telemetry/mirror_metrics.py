"""What is counted of mirrored calls. The model is the one that was answered, not the shadow."""

from typing import Final

from gateway.telemetry.instruments import Instruments

_OF: Final = ("model", "shadow")
_RATIO: Final = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_LENGTH: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0)
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)


class MirrorMetrics:
    """The families of mirrored calls. `side` is `client` or `shadow`."""

    def __init__(self, new: Instruments) -> None:
        self.calls = new.counter(
            "gateway_mirror_calls",
            "Calls that were sent to a shadow as well, by what came of it.",
            (*_OF, "outcome"),
        )
        self.skipped = new.counter(
            "gateway_mirror_skipped",
            "Calls of the sample that were not sent to a shadow, and why.",
            (*_OF, "reason"),
        )
        self.answers = new.counter(
            "gateway_mirror_answers",
            "Answers that were compared: whether the text and the reason for its end are the "
            "same. `greedy` calls had the temperature 0.",
            (*_OF, "sampling", "text", "finish"),
        )
        self.agreement = new.histogram(
            "gateway_mirror_agreement_ratio",
            "How alike two answers are, 0 to 1: the part that their texts have in common at the "
            "beginning (`common_prefix`), or of embeddings the `cosine`, the least of a call.",
            (*_OF, "measure"),
            _RATIO,
        )
        self.length = new.histogram(
            "gateway_mirror_length_ratio",
            "Tokens that a shadow generated, divided by those that the client got.",
            _OF,
            _LENGTH,
        )
        self.ttft = new.histogram(
            "gateway_mirror_time_to_first_token_seconds",
            "From the request to an engine to its first content, streamed calls only.",
            (*_OF, "side"),
            _SECONDS,
        )
        self.duration = new.histogram(
            "gateway_mirror_duration_seconds",
            "From the request to an engine to the end of its answer.",
            (*_OF, "side"),
            _SECONDS,
        )
