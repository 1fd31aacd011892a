"""Is B good enough to take A's place? Against thresholds that the operator sets. No I/O.

The defaults: an accuracy of 99 % of the reference's is what MLPerf Inference asks of quantized
submissions (mlcommons inference_policies, "accuracy targets"); perplexity, divergence and top-1
agreement are where llama.cpp's own tables put Q5 and Q6 of an 8B model and leave out Q4_0
("quantize" and "perplexity" READMEs).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.quality.bootstrap import Estimate
from gateway.quality.summary import Summary


@dataclass(frozen=True, slots=True)
class Thresholds:
    """None: not looked at. Shares from 0 to 1; `max_kl` in nats per token, on average."""

    max_accuracy_drop: float | None = 0.01
    max_kl: float | None = 0.05
    min_top1: float | None = 0.93
    max_perplexity_ratio: float | None = 1.03
    min_same: float | None = None
    max_refusal_change: float | None = None
    max_length_change: float | None = None
    max_ttft_ratio: float | None = None
    max_tpot_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure against its threshold. `is_sure`: the whole interval lies on one side of it."""

    name: str
    value: float
    bound: float
    is_upper: bool
    is_met: bool
    is_sure: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """`unknown`: thresholds that were to be looked at, and no figure was there."""

    findings: Sequence[Finding]
    unknown: Sequence[str]

    @property
    def kind(self) -> Literal["fine", "worse", "nothing measured"]:
        """`worse` when any figure is beyond its threshold."""
        if not self.findings:
            return "nothing measured"
        return "fine" if all(finding.is_met for finding in self.findings) else "worse"


def verdict_of(summary: Summary, thresholds: Thresholds) -> Verdict:
    """Each threshold with its figure."""
    accuracy = summary.accuracy
    drop = None if accuracy is None else _mirrored(accuracy.change)
    length = summary.length_ratio
    away = None if length is None else _distance_from_one(length)
    refusal = summary.refusal_change
    changed = None if refusal is None else _magnitude(refusal)
    looked_at = (
        ("accuracy drop", drop, thresholds.max_accuracy_drop, True),
        ("KL divergence", summary.kl, thresholds.max_kl, True),
        ("top-1 agreement", summary.top1, thresholds.min_top1, False),
        ("perplexity ratio", summary.perplexity_ratio, thresholds.max_perplexity_ratio, True),
        ("same answers", summary.same, thresholds.min_same, False),
        ("refusal change", changed, thresholds.max_refusal_change, True),
        ("length change", away, thresholds.max_length_change, True),
        ("TTFT ratio", summary.ttft_ratio, thresholds.max_ttft_ratio, True),
        ("TPOT ratio", summary.tpot_ratio, thresholds.max_tpot_ratio, True),
    )
    findings: list[Finding] = []
    unknown: list[str] = []
    for name, estimate, bound, is_upper in looked_at:
        if bound is None:
            continue
        if estimate is None:
            unknown.append(name)
        else:
            findings.append(_finding(name, estimate, bound, is_upper=is_upper))
    return Verdict(tuple(findings), tuple(unknown))


def _finding(name: str, estimate: Estimate, bound: float, *, is_upper: bool) -> Finding:
    met = estimate.value <= bound if is_upper else estimate.value >= bound
    sure = estimate.high <= bound or estimate.low > bound
    if not is_upper:
        sure = estimate.low >= bound or estimate.high < bound
    return Finding(name, estimate.value, bound, is_upper, met, sure)


def _mirrored(of: Estimate) -> Estimate:
    return Estimate(0.0 - of.value, 0.0 - of.high, 0.0 - of.low, of.prompts)


def _distance_from_one(of: Estimate) -> Estimate:
    return _magnitude(Estimate(of.value - 1, of.low - 1, of.high - 1, of.prompts))


def _magnitude(of: Estimate) -> Estimate:
    """How far from nothing, whichever way."""
    ends = (abs(of.low), abs(of.high))
    lowest = 0.0 if of.low <= 0 <= of.high else min(ends)
    return Estimate(abs(of.value), lowest, max(ends), of.prompts)
