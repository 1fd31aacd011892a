"""What is measured of a run of the routing experiment. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.figures.quantiles import Spread, significant, spread_of


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it went: seconds since the begin, and tokens. `failure` None: whole."""

    sent_s: float
    first_token_s: float
    done_s: float
    answer_tokens: int
    failure: str | None = None

    @property
    def ttft_s(self) -> float:
        return self.first_token_s - self.sent_s


@dataclass(frozen=True, slots=True)
class Engine:
    """What one engine has done by the end: tokens of prompts, those of them cached, answers."""

    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int

    @property
    def computed_tokens(self) -> int:
        return self.prompt_tokens - self.cached_tokens + self.answer_tokens


@dataclass(frozen=True, slots=True)
class Figures:
    """One router under one workload.

    `ttft_ms` and `tokens_per_s` are of the calls sent between warm-up and end; the cache's hit
    ratio (0 to 1) and `imbalance` (the tokens that the busiest replica computed, over the mean;
    1 is even) of the whole run.
    """

    workload: str
    router: str
    replicas: int
    calls: int
    failed: int
    ttft_ms: Spread | None
    tokens_per_s: float
    hit_ratio: float
    imbalance: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "workload": self.workload,
            "router": self.router,
            "replicas": self.replicas,
            "calls": self.calls,
            "failed": self.failed,
            "ttft_ms": None if self.ttft_ms is None else self.ttft_ms.as_dict(),
            "tokens_per_s": significant(self.tokens_per_s),
            "hit_ratio": significant(self.hit_ratio),
            "imbalance": significant(self.imbalance),
        }


def figures_of(
    workload: str,
    router: str,
    calls: Sequence[Call],
    engines: Sequence[Engine],
    *,
    warmup_s: float,
    until_s: float,
) -> Figures:
    """Throughput counts what was answered by `until_s`; later answers only end what began."""
    counted = [call for call in calls if warmup_s <= call.sent_s < until_s]
    whole = [call for call in counted if call.failure is None]
    done = sum(call.answer_tokens for call in calls if warmup_s <= call.done_s < until_s)
    computed = [engine.computed_tokens for engine in engines]
    prompt = sum(engine.prompt_tokens for engine in engines)
    return Figures(
        workload=workload,
        router=router,
        replicas=len(engines),
        calls=len(counted),
        failed=len(counted) - len(whole),
        ttft_ms=spread_of(1000 * call.ttft_s for call in whole),
        tokens_per_s=done / (until_s - warmup_s),
        hit_ratio=sum(engine.cached_tokens for engine in engines) / max(1, prompt),
        imbalance=max(computed) * len(computed) / max(1, sum(computed)),
    )
