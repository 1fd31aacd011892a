import random
from dataclasses import replace

import pytest

from gateway.quality.bootstrap import Estimate
from gateway.quality.summary import Accuracy, Summary, summary_of
from gateway.quality.verdict import Thresholds, Verdict, verdict_of
from tests.support.compared import an_item

NONE = Thresholds(None, None, None, None)
SUMMARY = summary_of([an_item(i) for i in range(4)], random.Random(1))


def looked_at(thresholds: Thresholds, **figures: object) -> Verdict:
    summary: Summary = replace(SUMMARY, **figures)  # type: ignore[arg-type]
    return verdict_of(summary, thresholds)


@pytest.mark.parametrize(
    ("value", "low", "high", "is_met", "is_sure"),
    [
        (0.02, 0.01, 0.03, True, True),
        (0.04, 0.01, 0.07, True, False),
        (0.06, 0.01, 0.07, False, False),
        (0.09, 0.06, 0.12, False, True),
        (0.05, 0.05, 0.05, True, True),
    ],
)
def test_an_upper_bound(value: float, low: float, high: float, is_met: bool, is_sure: bool) -> None:
    verdict = looked_at(replace(NONE, max_kl=0.05), kl=Estimate(value, low, high, 9))
    (finding,) = verdict.findings
    assert (finding.is_met, finding.is_sure) == (is_met, is_sure)
    assert verdict.kind == ("fine" if is_met else "worse")


@pytest.mark.parametrize(
    ("value", "low", "high", "is_met", "is_sure"),
    [
        (0.97, 0.95, 0.99, True, True),
        (0.95, 0.9, 0.99, True, False),
        (0.9, 0.85, 0.92, False, True),
    ],
)
def test_a_lower_bound(value: float, low: float, high: float, is_met: bool, is_sure: bool) -> None:
    thresholds = replace(NONE, min_top1=0.94)
    (finding,) = looked_at(thresholds, top1=Estimate(value, low, high, 9)).findings
    assert (finding.is_met, finding.is_sure) == (is_met, is_sure)


def test_a_loss_of_accuracy_counts_and_a_gain_does_not() -> None:
    def accuracy(change: float) -> Accuracy:
        return Accuracy(0.5, 0.5 + change, Estimate(change, change, change, 9), 1, 0, 1.0)

    thresholds = replace(NONE, max_accuracy_drop=0.01)
    assert looked_at(thresholds, accuracy=accuracy(-0.05)).kind == "worse"
    assert looked_at(thresholds, accuracy=accuracy(+0.05)).kind == "fine"
    assert str(looked_at(thresholds, accuracy=accuracy(0.0)).findings[0].value) == "0.0"


def test_drift_counts_both_ways() -> None:
    thresholds = replace(NONE, max_length_change=0.1, max_refusal_change=0.1)
    for ratio, change in ((0.8, -0.2), (1.2, 0.2)):
        verdict = looked_at(
            thresholds,
            length_ratio=Estimate(ratio, ratio, ratio, 9),
            refusal_change=Estimate(change, change, change, 9),
        )
        assert [one.is_met for one in verdict.findings] == [False, False]
    around = looked_at(thresholds, length_ratio=Estimate(1.05, 0.95, 1.15, 9)).findings[-1]
    assert (around.is_met, around.is_sure) == (True, False)


def test_every_threshold_is_looked_at() -> None:
    all_of_them = Thresholds(0.01, 0.05, 0.93, 1.2, 0.5, 0.1, 0.1, 2.0, 2.0)
    verdict = verdict_of(SUMMARY, all_of_them)
    assert len(verdict.findings) == 8
    assert verdict.unknown == ("accuracy drop",)
    assert verdict.kind == "fine"


def test_nothing_to_look_at_is_no_verdict() -> None:
    assert verdict_of(SUMMARY, NONE).kind == "nothing measured"
