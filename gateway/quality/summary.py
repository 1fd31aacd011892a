"""All prompts together: what B costs against A. No I/O.

Every figure is paired: both answered the same prompts, and intervals come from drawing prompts.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

from gateway.figures.quantiles import Spread, spread_of
from gateway.quality.bootstrap import Estimate, Share, mcnemar, proportion, ratio
from gateway.quality.item import Item, Side


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Graded answers. `change` is B's share of right ones minus A's; `p`: of McNemar's test."""

    a: float
    b: float
    change: Estimate
    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True, slots=True)
class Summary:
    """None where nothing was known: no logprobs, no references, no times.

    `differs_at`: places of first differences, in tokens. `kl` in nats per token, `kl_spread` of
    single tokens. `perplexity_*`: of A's answers under either; `perplexity_ratio` is B's over
    A's. `length_ratio`, `ttft_ratio`, `tpot_ratio`: B's over A's; times as geometric means.
    `known_ratio`: the part of A's tokens of which B's view is known.
    """

    prompts: int
    failed: int
    same: Estimate | None
    common: Estimate | None
    differs_at: Spread | None
    top1: Estimate | None
    kl: Estimate | None
    kl_spread: Spread | None
    perplexity_a: Estimate | None
    perplexity_b: Estimate | None
    perplexity_ratio: Estimate | None
    known_ratio: float | None
    accuracy: Accuracy | None
    length_ratio: Estimate | None
    cut_a: float
    cut_b: float
    refused_a: float
    refused_b: float
    refusal_change: Estimate | None
    ttft_a_ms: Spread | None
    ttft_b_ms: Spread | None
    ttft_ratio: Estimate | None
    tpot_a_ms: Spread | None
    tpot_b_ms: Spread | None
    tpot_ratio: Estimate | None


def summary_of(items: Sequence[Item], rng: random.Random) -> Summary:
    """Figures of the prompts that both answered."""
    done = [item for item in items if item.failure is None]
    known = [item for item in done if item.kl]
    tokens = sum(item.positions for item in done)

    def along(of: Callable[[Item], float], *, is_log: bool = False) -> Estimate | None:
        return ratio([(of(item), float(len(item.kl))) for item in known], rng, is_log=is_log)

    return Summary(
        prompts=len(items),
        failed=len(items) - len(done),
        same=proportion(sum(item.is_same for item in done), len(done)),
        common=ratio([(item.common_ratio, 1.0) for item in done], rng),
        differs_at=spread_of(i.differs_at for i in done if i.differs_at is not None),
        top1=along(lambda item: float(sum(item.agrees))),
        kl=along(lambda item: sum(item.kl)),
        kl_spread=spread_of(nats for item in known for nats in item.kl),
        perplexity_a=along(lambda item: -sum(item.a_logprobs), is_log=True),
        perplexity_b=along(lambda item: -sum(item.b_logprobs), is_log=True),
        perplexity_ratio=along(
            lambda item: sum(item.a_logprobs) - sum(item.b_logprobs), is_log=True
        ),
        known_ratio=sum(len(item.kl) for item in known) / tokens if tokens else None,
        accuracy=_accuracy(done, rng),
        length_ratio=ratio([(float(i.b.tokens), float(i.a.tokens)) for i in done], rng),
        cut_a=_share(done, lambda item: item.a.finish == "length"),
        cut_b=_share(done, lambda item: item.b.finish == "length"),
        refused_a=_share(done, lambda item: item.a.refused),
        refused_b=_share(done, lambda item: item.b.refused),
        refusal_change=ratio([(float(i.b.refused - i.a.refused), 1.0) for i in done], rng),
        ttft_a_ms=_times(done, lambda item: item.a.ttft_ms),
        ttft_b_ms=_times(done, lambda item: item.b.ttft_ms),
        ttft_ratio=_time_ratio(done, lambda side: side.ttft_ms, rng),
        tpot_a_ms=_times(done, lambda item: item.a.tpot_ms),
        tpot_b_ms=_times(done, lambda item: item.b.tpot_ms),
        tpot_ratio=_time_ratio(done, lambda side: side.tpot_ms, rng),
    )


def _accuracy(items: Sequence[Item], rng: random.Random) -> Accuracy | None:
    graded = [(i.a.right, i.b.right) for i in items if None not in (i.a.right, i.b.right)]
    change = ratio([(float(bool(b)) - float(bool(a)), 1.0) for a, b in graded], rng)
    if change is None:
        return None
    only_a = sum(1 for a, b in graded if a and not b)
    only_b = sum(1 for a, b in graded if b and not a)
    return Accuracy(
        a=sum(1 for a, _ in graded if a) / len(graded),
        b=sum(1 for _, b in graded if b) / len(graded),
        change=change,
        only_a=only_a,
        only_b=only_b,
        p=mcnemar(only_a, only_b),
    )


def _share(items: Sequence[Item], holds: Callable[[Item], bool]) -> float:
    return sum(map(holds, items)) / len(items) if items else 0.0


def _times(items: Sequence[Item], of: Callable[[Item], float | None]) -> Spread | None:
    return spread_of(value for item in items if (value := of(item)) is not None)


def _time_ratio(
    items: Sequence[Item], of: Callable[[Side], float | None], rng: random.Random
) -> Estimate | None:
    shares: list[Share] = []
    for item in items:
        a, b = of(item.a), of(item.b)
        if a and b:
            shares.append((log(b / a), 1.0))
    return ratio(shares, rng, is_log=True)
