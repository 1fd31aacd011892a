"""OpenMetrics, as its reference parser reads it."""

from typing import TYPE_CHECKING, cast

from prometheus_client import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.samples import Exemplar

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCEPT = {"accept": "application/openmetrics-text;version=1.0.0"}


def families(text: str | bytes) -> dict[str, Metric]:
    """By name. ValueError: it is no OpenMetrics."""
    whole = text if isinstance(text, str) else text.decode()
    read = cast(
        "Iterator[Metric]",
        parser.text_string_to_metric_families(whole),  # type: ignore[no-untyped-call]
    )
    return {family.name: family for family in read}


def exemplars(text: str | bytes) -> dict[str, Exemplar]:
    """One traced call of each histogram that has any."""
    return {
        name: sample.exemplar
        for name, family in families(text).items()
        for sample in family.samples
        if sample.exemplar is not None
    }
