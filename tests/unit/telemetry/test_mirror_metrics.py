from gateway.telemetry.metrics import Metrics
from tests.support.counted import counted


def test_what_becomes_of_mirrored_calls_is_counted_by_model_and_shadow() -> None:
    metrics = Metrics()
    metrics.mirrors.calls.cell("m", "s", "compared").add()
    metrics.mirrors.skipped.cell("m", "s", "full").add()
    assert counted(metrics, "gateway_mirror_calls", "shadow") == {"s": 1}
    assert counted(metrics, "gateway_mirror_skipped", "reason") == {"full": 1}


def test_equal_answers_have_a_bucket_of_their_own() -> None:
    agreement = Metrics().mirrors.agreement.cell("m", "s", "common_prefix")
    agreement.observe(0.999)
    agreement.observe(1.0)
    assert agreement.counts[-2] == 2
    agreement.observe(0.99)
    assert agreement.counts[-3] == 1
