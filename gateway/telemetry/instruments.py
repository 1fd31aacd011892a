"""Counters, gauges and histograms that cost a few hundred nanoseconds to record.

A caller resolves its labels once, keeps the cell, and records into it. What a scrape shows is read
from the cells of all sibling workers, where they are shared. One event loop records, so nothing
is locked.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import starmap
from typing import Generic, NamedTuple, TypeVar

from gateway.telemetry.cells import Cells, Labels, OwnCells, Readings, Values
from gateway.telemetry.exemplars import NUMBERS, Exemplar, Mark, keep, newest
from gateway.telemetry.exposition import Series, Shown

Cell = TypeVar("Cell")

_EXEMPLARS = "exemplars of "


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

    def forget(self, values: Labels) -> None:
        """Its cell is another one from now on."""
        self._cells.pop(values, None)


class _Gauge(NamedTuple):
    name: str
    text: str
    labels: Sequence[str]
    read: Callable[[], Readings]


class Instruments:
    """All metrics of this process and its siblings."""

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

    def known(self, first: Labels) -> set[Labels]:
        """What this process has cells for: the values of these labels, where they come first."""
        return {
            labels[: len(first)]
            for name, size, _ in self._labelled(first)
            for labels in self._cells.own(name, size)
        }

    def forget(self, first: Labels, gone: Collection[Labels]) -> None:
        """Drop this process' cells for these values of the labels that come first."""
        for name, size, family in self._labelled(first):
            for labels in [*self._cells.own(name, size)]:
                if labels[: len(first)] in gone:
                    if family is not None:
                        family.forget(labels)
                    self._cells.drop(name, labels, size)

    def _labelled(
        self, first: Labels
    ) -> Iterator[tuple[str, int, Family[Count] | Family[Distribution] | None]]:
        """Whatever has these labels first: name, size of its cells, and who hands them out."""
        for family in self._counters:
            if family.labels[: len(first)] == first:
                yield family.name, 1, family
        for spread in self._distributions:
            if spread.labels[: len(first)] == first:
                yield spread.name, len(spread.bounds) + 2, spread
                yield _EXEMPLARS + spread.name, (len(spread.bounds) + 1) * NUMBERS, None
        for level in self._levels:
            if tuple(level.labels[: len(first)]) == first:
                yield level.name, 1, None

    def shown(self) -> Iterator[Shown]:
        """Every metric as it is now."""
        for counter in self._counters:
            name, text, labels = counter.name, counter.text, counter.labels
            counts = self._cells.totals(name, 1).items()
            yield Shown(name, "counter", text, labels, (), starmap(Series, counts))
        for family in self._distributions:
            name, text, labels, bounds = family.name, family.text, family.labels, family.bounds
            marked = self._exemplars(family)
            spread = self._cells.totals(name, len(bounds) + 2).items()
            series = (Series(one, values, marked.get(one, ())) for one, values in spread)
            yield Shown(name, "histogram", text, labels, bounds, series)
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


def _shown(gauge: _Gauge, readings: Readings) -> Shown:
    series = (Series(labels, (value,)) for labels, value in readings)
    return Shown(gauge.name, "gauge", gauge.text, tuple(gauge.labels), (), series)
