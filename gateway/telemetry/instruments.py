"""Counters, gauges and histograms that cost a few hundred nanoseconds to record.

A caller resolves its labels once, keeps the cell, and records into it. The text for Prometheus
is written by prometheus_client, which reads the cells when it is scraped: those of all sibling
workers, where the cells are shared. One event loop records, so nothing is locked.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import core
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from gateway.telemetry.cells import Cells, Labels, OwnCells, Readings, Values
from gateway.telemetry.exemplars import NUMBERS, Exemplar, Mark, keep, newest

Cell = TypeVar("Cell")

_EXEMPLARS = "exemplars of "
_UNITS = ("seconds", "ratio", "tokens")


class Count:
    """A number that is added to."""

    __slots__ = ("_values",)

    def __init__(self, values: Values) -> None:
        self._values = values

    @property
    def value(self) -> float:
        """What this process has counted, and those whose place it took."""
        return self._values[0]

    def add(self, amount: float = 1.0) -> None:
        self._values[0] += amount


class Distribution:
    """How often values fell between bounds. `bounds` ascend; the last bucket is unbounded.

    In its cell: the buckets, then the sum of the values. `exemplars` makes the cell of traced
    calls, which only those who trace need.
    """

    __slots__ = ("_bounds", "_exemplars", "_new_exemplars", "_values")

    def __init__(
        self,
        bounds: Sequence[float],
        values: Values | None = None,
        exemplars: Callable[[], Values] | None = None,
    ) -> None:
        self._bounds = bounds
        self._values = [0.0] * (len(bounds) + 2) if values is None else values
        self._new_exemplars = exemplars
        self._exemplars: Values | None = None

    @property
    def counts(self) -> list[float]:
        """By bucket, not cumulated."""
        return list(self._values)[:-1]

    @property
    def total(self) -> float:
        """The sum of the values."""
        return self._values[-1]

    def observe(self, value: float, times: int = 1) -> None:
        values = self._values
        values[bisect_left(self._bounds, value)] += times
        values[-1] += value * times

    def exemplify(self, value: float, mark: Mark) -> None:
        """A value that was observed came from a traced call."""
        if self._exemplars is None:
            if self._new_exemplars is None:
                return
            self._exemplars = self._new_exemplars()
        keep(self._exemplars, bisect_left(self._bounds, value), value, mark)


class Family(Generic[Cell]):
    """The cells of one metric, by label values. `bounds` are those of its distributions."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        new_cell: Callable[[Labels], Cell],
        bounds: Sequence[float] = (),
    ) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self.bounds = bounds
        self._cells: dict[Labels, Cell] = {}
        self._new_cell = new_cell

    def cell(self, *values: str) -> Cell:
        """The cell of these label values, made when it is first asked for."""
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} has the labels {self.labels}")
            cell = self._cells[values] = self._new_cell(values)
        return cell


class _Gauge(NamedTuple):
    name: str
    text: str
    labels: Sequence[str]
    read: Callable[[], Readings]


class Instruments:
    """All metrics of this process and its siblings; a collector for prometheus_client."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = cells or OwnCells()
        self._counters: list[Family[Count]] = []
        self._distributions: list[Family[Distribution]] = []
        self._gauges: list[_Gauge] = []
        self._levels: list[_Gauge] = []

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Count]:
        """`name` without `_total`, which the text format adds."""
        family = Family(name, text, labels, lambda values: Count(self._cells.cell(name, values, 1)))
        self._counters.append(family)
        return family

    def histogram(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> Family[Distribution]:
        size = len(bounds) + 2

        def new_cell(values: Labels) -> Distribution:
            def exemplars() -> Values:
                return self._cells.cell(_EXEMPLARS + name, values, (len(bounds) + 1) * NUMBERS)

            return Distribution(bounds, self._cells.cell(name, values, size), exemplars)

        family = Family(name, text, labels, new_cell, bounds)
        self._distributions.append(family)
        return family

    def gauge(
        self, name: str, text: str, labels: Sequence[str], read: Callable[[], Readings]
    ) -> None:
        """A value that somebody else keeps: `read` gives it at every scrape.

        Siblings see the same thing: what the scraped one sees is shown.
        """
        self._gauges.append(_Gauge(name, text, labels, read))

    def level(
        self, name: str, text: str, labels: Sequence[str], read: Callable[[], Readings]
    ) -> None:
        """Like a gauge, but every worker has its own share: the sum is shown."""
        self._levels.append(_Gauge(name, text, labels, read))

    def tell_levels(self) -> None:
        """Let siblings know our share of every level."""
        for level in self._levels:
            self._cells.set_levels(level.name, level.read())

    def totals(self, family: Family[Cell]) -> dict[Labels, list[float]]:
        """A copy of what this process and its siblings have counted, by label values.

        One number of a counter; the buckets of a histogram, not cumulated, and then the sum.
        """
        size = len(family.bounds) + 2 if family.bounds else 1
        return {
            labels: list(values) for labels, values in self._cells.totals(family.name, size).items()
        }

    def level_sums(self, name: str) -> dict[Labels, float]:
        """A level as it is now, over all workers; zeros are left out."""
        return dict(self._cells.levels(name))

    def collect(self) -> Iterator[Metric]:
        for counter in self._counters:
            counted = CounterMetricFamily(
                counter.name, counter.text, labels=counter.labels, unit=_unit(counter.name)
            )
            for labels, (count,) in self._cells.totals(counter.name, 1).items():
                counted.add_metric(labels, count)
            yield counted
        for family in self._distributions:
            spread = HistogramMetricFamily(
                family.name, family.text, labels=family.labels, unit=_unit(family.name)
            )
            marked = self._exemplars(family)
            for labels, values in self._cells.totals(family.name, len(family.bounds) + 2).items():
                *counts, total = values
                buckets = _cumulated(family.bounds, counts, marked.get(labels, ()))
                spread.add_metric(labels, buckets, total)
            yield spread
        self.tell_levels()
        for level in self._levels:
            sums = {labels: 0.0 for labels, _ in level.read()}
            sums.update(self._cells.levels(level.name))
            yield _shown(level, sums.items())
        for gauge in self._gauges:
            yield _shown(gauge, gauge.read())

    def _exemplars(self, family: Family[Distribution]) -> dict[Labels, list[Exemplar | None]]:
        """By label values and bucket, of all workers the newest."""
        buckets = len(family.bounds) + 1
        cells: dict[Labels, list[Values]] = {}
        for labels, values in self._cells.each(_EXEMPLARS + family.name, buckets * NUMBERS):
            cells.setdefault(labels, []).append(values)
        return {labels: newest(several, buckets) for labels, several in cells.items()}


def _unit(name: str) -> str:
    """What OpenMetrics is told of the unit: the end of the name, where that is one."""
    last = name.rpartition("_")[2]
    return last if last in _UNITS else ""


def _shown(gauge: _Gauge, readings: Readings) -> Metric:
    family = GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels, unit=_unit(gauge.name))
    for labels, value in readings:
        family.add_metric(labels, value)
    return family


def _cumulated(
    bounds: Sequence[float], counts: Sequence[float], exemplars: Sequence[Exemplar | None]
) -> list[tuple[str, float] | tuple[str, float, core.Exemplar]]:
    buckets: list[tuple[str, float] | tuple[str, float, core.Exemplar]] = []
    seen = 0.0
    for number, count in enumerate(counts):
        seen += count
        name = _bound(bounds[number]) if number < len(bounds) else "+Inf"
        exemplar = exemplars[number] if exemplars else None
        if exemplar is None:
            buckets.append((name, seen))
        else:
            buckets.append((name, seen, _told(exemplar)))
    return buckets


def _bound(bound: float) -> str:
    """As OpenMetrics wants it: 1 is `1.0`."""
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]


def _told(exemplar: Exemplar) -> core.Exemplar:
    mark = exemplar.mark
    ids = {"trace_id": f"{mark.trace:032x}", "span_id": f"{mark.span:016x}"}
    return core.Exemplar(ids, exemplar.value, round(mark.unix_s, 3))
