"""Counts a comparison. No I/O."""

from gateway.proxy.mirror.comparison import Comparison
from gateway.telemetry.mirror_metrics import MirrorMetrics


def tell(metrics: MirrorMetrics, one: Comparison) -> None:
    """Times and lengths are told only where both sides have them."""
    of = (one.model, one.shadow)
    client, shadow = one.answers["client"], one.answers["shadow"]
    sampling = "greedy" if one.greedy else "sampled"
    text = "same" if one.same else "different"
    finish = "same" if client.finish_reason == shadow.finish_reason else "different"
    metrics.answers.cell(*of, sampling, text, finish).add()
    if one.common_prefix_ratio is not None:
        metrics.agreement.cell(*of, "common_prefix").observe(one.common_prefix_ratio)
    if one.cosine is not None:
        metrics.agreement.cell(*of, "cosine").observe(one.cosine)
    if client.completion_tokens and shadow.completion_tokens is not None:
        metrics.length.cell(*of).observe(shadow.completion_tokens / client.completion_tokens)
    if client.ttft_ms is not None and shadow.ttft_ms is not None:
        metrics.ttft.cell(*of, "client").observe(client.ttft_ms / 1000)
        metrics.ttft.cell(*of, "shadow").observe(shadow.ttft_ms / 1000)
    if client.duration_ms is not None and shadow.duration_ms is not None:
        metrics.duration.cell(*of, "client").observe(client.duration_ms / 1000)
        metrics.duration.cell(*of, "shadow").observe(shadow.duration_ms / 1000)
