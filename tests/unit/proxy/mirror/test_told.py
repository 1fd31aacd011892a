from typing import Any

import msgspec

from gateway.proxy.mirror.comparison import Side
from gateway.proxy.mirror.told import tell
from gateway.telemetry.metrics import Metrics
from tests.support.counted import counted
from tests.unit.proxy.mirror.test_comparison import a_comparison


def told(client: dict[str, Any], shadow: dict[str, Any], **more: Any) -> Metrics:
    metrics = Metrics()
    sides = {"client": Side("m", "r0", **client), "shadow": Side("s", "r0", **shadow)}
    tell(metrics.mirrors, msgspec.structs.replace(a_comparison("id"), answers=sides, **more))
    return metrics


def test_answers_are_counted_by_whether_they_are_the_same() -> None:
    metrics = told({"finish_reason": "stop"}, {"finish_reason": "length"}, same=False, greedy=False)
    for by, value in (("text", "different"), ("finish", "different"), ("sampling", "sampled")):
        assert counted(metrics, "gateway_mirror_answers", by) == {value: 1}


def test_agreement_is_that_of_texts_or_of_embeddings() -> None:
    texts = told({}, {}, common_prefix_ratio=0.5).mirrors.agreement
    assert texts.cell("m", "s", "common_prefix").total == 0.5
    vectors = told({}, {}, common_prefix_ratio=None, cosine=0.25).mirrors.agreement
    assert vectors.cell("m", "s", "cosine").total == 0.25
    assert sum(vectors.cell("m", "s", "common_prefix").counts) == 0


def test_times_and_lengths_are_those_of_pairs() -> None:
    known = {"completion_tokens": 4, "ttft_ms": 10.0, "duration_ms": 100.0}
    both = told(known, known | {"completion_tokens": 8}).mirrors
    assert both.length.cell("m", "s").total == 2.0
    for family in (both.ttft, both.duration):
        for side in ("client", "shadow"):
            assert sum(family.cell("m", "s", side).counts) == 1
    one = told(known, {}).mirrors
    assert sum(one.length.cell("m", "s").counts) == 0
    for family in (one.ttft, one.duration):
        assert sum(family.cell("m", "s", "client").counts) == 0
