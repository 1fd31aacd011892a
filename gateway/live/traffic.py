"""Rates and quantiles from what was counted at two moments. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.live.buckets import quantile
from gateway.live.view import Quantiles, Traffic
from gateway.telemetry.bounds import INTER_TOKEN_S, TTFT_S
from gateway.telemetry.cells import Labels
from gateway.telemetry.counted import Counted

_FAILED: Final = ("engine_error", "gateway_error")
_ROUTE_NAMES: Final = 3


class TrafficBetween:
    """What happened between two moments, `window_s` apart: of all, a model, a variant, a replica.

    Everything is added up once, so that a large fleet costs what its counters cost.
    """

    def __init__(self, before: Counted, now: Counted, window_s: float) -> None:
        self._window_s = window_s
        self._sums: dict[Labels, _Sums] = {}
        for labels, count in now.requests.items():
            for sums in self._above(labels):
                _add(sums.outcomes, labels[-1], count - before.requests.get(labels, 0.0))
        for labels, count in now.tokens.items():
            for sums in self._above(labels):
                _add(sums.tokens, labels[-1], count - before.tokens.get(labels, 0.0))
        for labels, grown in _grown(before.ttft, now.ttft):
            for sums in self._above(labels):
                sums.ttft = _added(sums.ttft, grown)
        for labels, grown in _grown(before.inter_token, now.inter_token):
            for sums in self._above(labels):
                sums.inter_token = _added(sums.inter_token, grown)

    def of(self, *names: str) -> Traffic:
        """`names`: none for all; a model; and its variant; and its replica."""
        sums, window_s = self._sums.get(names, _Sums()), self._window_s

        def rate(count: float) -> float:
            return round(count / window_s, 3)

        return Traffic(
            requests_per_s=rate(sum(sums.outcomes.values())),
            failures_per_s=rate(sum(sums.outcomes.get(one, 0.0) for one in _FAILED)),
            refused_per_s=rate(sums.outcomes.get("client_error", 0.0)),
            client_gone_per_s=rate(sums.outcomes.get("client_gone", 0.0)),
            input_tokens_per_s=rate(sums.tokens.get("input", 0.0)),
            output_tokens_per_s=rate(sums.tokens.get("output", 0.0)),
            ttft=_quantiles(TTFT_S, sums.ttft),
            inter_token=_quantiles(INTER_TOKEN_S, sums.inter_token),
        )

    def _above(self, labels: Labels) -> Iterator["_Sums"]:
        """The sums that a route counts in."""
        for length in range(_ROUTE_NAMES + 1):
            yield self._sums.setdefault(labels[:length], _Sums())


class _Sums:
    """`ttft` and `inter_token` by bucket; empty: nothing."""

    __slots__ = ("inter_token", "outcomes", "tokens", "ttft")

    def __init__(self) -> None:
        self.outcomes: dict[str, float] = {}
        self.tokens: dict[str, float] = {}
        self.ttft: Sequence[float] = ()
        self.inter_token: Sequence[float] = ()


def _add(to: dict[str, float], name: str, count: float) -> None:
    """A counter that went down began anew: it has not grown."""
    to[name] = to.get(name, 0.0) + max(0.0, count)


def _grown(
    before: Mapping[Labels, Sequence[float]], now: Mapping[Labels, Sequence[float]]
) -> Iterator[tuple[Labels, Sequence[float]]]:
    """By bucket, without the sum of the values."""
    for labels, values in now.items():
        earlier = before.get(labels) or [0.0] * len(values)
        yield (
            labels,
            [max(0.0, b - a) for a, b in zip(earlier[:-1], values[:-1], strict=True)],
        )


def _added(to: Sequence[float], counts: Sequence[float]) -> Sequence[float]:
    return [a + b for a, b in zip(to, counts, strict=True)] if to else counts


def _quantiles(bounds: Sequence[float], counts: Sequence[float]) -> Quantiles | None:
    if not any(counts):
        return None
    p50, p95, p99 = (round(quantile(bounds, counts, part), 6) for part in (0.5, 0.95, 0.99))
    return Quantiles(count=round(sum(counts)), p50_s=p50, p95_s=p95, p99_s=p99)
