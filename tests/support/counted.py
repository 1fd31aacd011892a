"""What the metrics say, as whoever scrapes them reads it."""

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import Metrics


def counted(metrics: Metrics, counter: str, by: str) -> dict[str, float]:
    """The values of a counter by one of its labels, the others summed; what is 0 is left out."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if sample.name == f"{counter}_total":
                found[sample.labels[by]] += int(sample.value)
    return {label: value for label, value in found.items() if value}
