import pytest

from gateway.experiment.figures import Call, Engine, figures_of

ENGINES = (Engine(1000, 400, 200), Engine(200, 0, 200))


def test_calls_between_warm_up_and_end_are_counted() -> None:
    calls = [
        Call(5, 5.5, 9, 50),
        Call(10, 10.1, 12, 100),
        Call(15, 15.3, 25, 100),
        Call(16, 16, 16, 0, failure="refused"),
    ]
    found = figures_of("chat", "ours", calls, ENGINES, warmup_s=8, until_s=20)
    assert (found.calls, found.failed) == (3, 1)
    assert found.ttft_ms is not None
    assert found.ttft_ms.p50 == pytest.approx(200)
    assert found.tokens_per_s == pytest.approx(150 / 12)
    assert found.hit_ratio == pytest.approx(400 / 1200)
    assert found.imbalance == pytest.approx(800 / 600)


def test_nothing_that_was_answered_has_no_times() -> None:
    found = figures_of("chat", "ours", [], (Engine(0, 0, 0),), warmup_s=0, until_s=1)
    told = found.as_dict()
    assert told["ttft_ms"] is None
    assert (told["hit_ratio"], told["imbalance"], told["replicas"]) == (0, 0, 1)
