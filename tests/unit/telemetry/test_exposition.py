"""The text is what prometheus_client, the reference, makes of the same figures."""

from collections.abc import Iterator
from itertools import accumulate
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.utils import floatToGoString

from gateway.telemetry import exemplars
from gateway.telemetry.exemplars import Mark
from gateway.telemetry.exposition import Kind, Series, Shown, written
from gateway.telemetry.negotiation import Format
from tests.support.openmetrics import families

_values = st.floats(0, 1e12) | st.integers(0, 10**9).map(float)
_texts = st.text(st.sampled_from('ab\\"\nü{},= '), max_size=6)


class Reference:
    """The same metrics, as prometheus_client has them."""

    def __init__(self, metrics: list[Shown]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for one in self._metrics:
            last = one.name.rpartition("_")[2]
            unit = last if last in ("seconds", "ratio", "tokens") else ""
            if one.kind == "histogram":
                spread = HistogramMetricFamily(one.name, one.text, labels=one.labels, unit=unit)
                for series in one.series:
                    spread.add_metric(series.labels, _buckets(one, series), series.values[-1])
                yield spread
                continue
            new = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
            family = new(one.name, one.text, labels=one.labels, unit=unit)
            for series in one.series:
                family.add_metric(series.labels, series.values[0])
            yield family

    def text(self, kind: Format) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        if kind is Format.PROMETHEUS:
            return generate_latest(registry)
        return cast("bytes", openmetrics.generate_latest(registry))  # type: ignore[no-untyped-call]


def _buckets(one: Shown, series: Series) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    names = [str(floatToGoString(bound)) for bound in one.bounds]  # type: ignore[no-untyped-call]
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    counts = accumulate(series.values[:-1])
    for number, (name, count) in enumerate(zip([*names, "+Inf"], counts, strict=True)):
        found = series.exemplars[number] if series.exemplars else None
        if found is None:
            buckets.append((name, count))
        else:
            ids = {"trace_id": f"{found.mark.trace:032x}", "span_id": f"{found.mark.span:016x}"}
            told = Exemplar(ids, found.value, round(found.mark.unix_s, 3))
            buckets.append((name, count, told))
    return buckets


@st.composite
def metrics(draw: st.DrawFn) -> list[Shown]:
    found = []
    names = draw(st.lists(st.sampled_from(_NAMES), unique=True, max_size=4))
    for name in names:
        kind: Kind = draw(st.sampled_from(["counter", "gauge", "histogram"]))
        labels = tuple(draw(st.lists(st.sampled_from(_LABELS), unique=True, max_size=3)))
        bounds = (0.5, 1, 10.0, 2_000_000) if kind == "histogram" else ()
        size = len(bounds) + 2 if bounds else 1
        series = []
        for values in draw(st.lists(st.tuples(*[_texts] * len(labels)), unique=True, max_size=3)):
            numbers = draw(st.lists(_values, min_size=size, max_size=size))
            marked = draw(st.none() | st.lists(_marks, min_size=5, max_size=5)) if bounds else None
            series.append(Series(values, numbers, marked or ()))
        found.append(Shown(name, kind, draw(_texts), labels, bounds, series))
    return found


_NAMES = ["m_seconds", "m_ratio", "m_tokens", "calls", "gateway_calls_by_caller"]
_LABELS = ["model", "caller", "outcome", "zone", "le_"]
_marks = st.none() | st.builds(
    exemplars.Exemplar,
    st.builds(Mark, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.floats(1, 2e9)),
    st.floats(0, 1e9),
)


@given(metrics(), st.sampled_from(Format))
def test_the_text_is_the_references(given_: list[Shown], kind: Format) -> None:
    assert written(given_, kind).decode() == Reference(given_).text(kind).decode()


def test_what_is_not_finite_is_written_as_go_does() -> None:
    values = [float("inf"), float("-inf"), float("nan")]
    series = [Series((str(value),), (value,)) for value in values]
    shown = [Shown("level", "gauge", "A level.", ("is",), (), series)]
    for kind in Format:
        assert written(shown, kind) == Reference(shown).text(kind)
    assert len(families(written(shown, Format.OPENMETRICS))["level"].samples) == 3


def test_without_metrics_openmetrics_still_ends() -> None:
    assert written([], Format.OPENMETRICS) == b"# EOF\n"
    assert written([], Format.PROMETHEUS) == b""
