"""What was counted of calls until one moment, over all workers: two of them make a rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.telemetry.cells import Labels


@dataclass(frozen=True, slots=True)
class Counted:
    """By label values: `requests` by route and outcome, `tokens` by route and type.

    `ttft` and `inter_token` by route: how many fell into each bucket (seconds, not cumulated; the
    bounds are `bounds.TTFT_S` and `INTER_TOKEN_S`), then the sum of the values.
    """

    requests: Mapping[Labels, float]
    tokens: Mapping[Labels, float]
    ttft: Mapping[Labels, Sequence[float]]
    inter_token: Mapping[Labels, Sequence[float]]
