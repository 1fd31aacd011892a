"""Counters, gauges and histograms that cost a few hundred nanoseconds to record.

A caller resolves its labels once, keeps the cell, and records into it. The text for Prometheus
is written by prometheus_client, which reads the cells when it is scraped. One event loop
records, so nothing is locked.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

Labels = tuple[str, ...]
Cell = TypeVar("Cell")


class Count:
    """A number that is added to."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        self.value += amount


class Distribution:
    """How often values fell between bounds. `bounds` ascend; the last bucket is unbounded."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Family(Generic[Cell]):
    """The cells of one metric, by label values."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], new_cell: Callable[[], Cell]
    ) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self.cells: dict[Labels, Cell] = {}
        self._new_cell = new_cell

    def cell(self, *values: str) -> Cell:
        """The cell of these label values, made when it is first asked for."""
        cell = self.cells.get(values)
        if cell is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} has the labels {self.labels}")
            cell = self.cells[values] = self._new_cell()
        return cell


Reading = Iterable[tuple[Labels, float]]


class Instruments:
    """All metrics of one process; a collector for prometheus_client."""

    def __init__(self) -> None:
        self._counters: list[Family[Count]] = []
        self._distributions: list[Family[Distribution]] = []
        self._gauges: list[tuple[str, str, Sequence[str], Callable[[], Reading]]] = []

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Count]:
        """`name` without `_total`, which the text format adds."""
        family = Family(name, text, labels, Count)
        self._counters.append(family)
        return family

    def histogram(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> Family[Distribution]:
        family = Family(name, text, labels, lambda: Distribution(bounds))
        self._distributions.append(family)
        return family

    def gauge(
        self, name: str, text: str, labels: Sequence[str], read: Callable[[], Reading]
    ) -> None:
        """A value that somebody else keeps: `read` gives it at every scrape."""
        self._gauges.append((name, text, labels, read))

    def collect(self) -> Iterator[Metric]:
        for counter in self._counters:
            counted = CounterMetricFamily(counter.name, counter.text, labels=counter.labels)
            for values, count in counter.cells.items():
                counted.add_metric(values, count.value)
            yield counted
        for family in self._distributions:
            spread = HistogramMetricFamily(family.name, family.text, labels=family.labels)
            for values, distribution in family.cells.items():
                spread.add_metric(values, _cumulated(distribution), distribution.total)
            yield spread
        for name, text, labels, read in self._gauges:
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for values, value in read():
                gauge.add_metric(values, value)
            yield gauge


def _cumulated(distribution: Distribution) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    seen = 0
    names = [*map(str, distribution.bounds), "+Inf"]
    for bound, count in zip(names, distribution.counts, strict=True):
        seen += count
        buckets.append((bound, seen))
    return buckets
