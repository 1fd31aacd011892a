"""Where metrics keep their numbers: in this process, or where its sibling workers see them.

Shared numbers lie in one piece of memory that all workers map, with a slot for each of them.
Only its worker writes to a slot, everybody reads all. A cell stays where it was put, so that
recording is one addition; and what a worker has counted outlives it, even a kill -9: its
replacement takes over the slot and counts on. So a sum over all slots never goes down.

Levels, which go up and down, are told once a second with the time; those of a worker that has
been silent for a few seconds do not count.

A slot: its used bytes (uint64), the time of its levels (double), how often a cell was dropped or
taken again (uint64), then its cells: bytes of key and number of values (uint32 each), key (name
and label values in JSON, filled up with spaces), values (doubles). The used bytes are written
last, so that a reader meets whole cells only. A dropped cell has the highest bit of its number of
values set; the next one that fits takes its place, and takes that bit away when all else is there.
"""

import logging
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec

from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names

log = logging.getLogger(__name__)

Labels = tuple[str, ...]
Readings = Iterable[tuple[Labels, float]]

SLOT_BYTES = 8 * 1024 * 1024
LEVELS_EVERY_S = 1.0
_LEVELS_HOLD_S = 3.5
_HEAD = struct.Struct("=QdQ")
_CELL = struct.Struct("=II")
_WORD_BYTES = 8
_KEY_BYTES = 16  # keys are filled up to a multiple of it, so that one fits in another's place
_DROPPED = 1 << 31


class Values(Protocol):
    """The numbers of one cell, changed in place."""

    def __getitem__(self, index: int, /) -> float: ...

    def __setitem__(self, index: int, value: float, /) -> None: ...

    def __iter__(self) -> Iterator[float]: ...


class Cells(Protocol):
    """Hands out cells and adds them up."""

    def cell(self, name: str, labels: Labels, size: int) -> Values:
        """The numbers of a metric for these label values: always the same ones."""
        ...

    def own(self, name: str, size: int) -> Collection[Labels]:
        """The label values for which this process has cells."""
        ...

    def drop(self, name: str, labels: Labels, size: int) -> None:
        """Forget this process' cell. Whoever holds it must not write to it any more."""

    def each(self, name: str, size: int) -> Iterator[tuple[Labels, Values]]:
        """The cells of all workers as they are, by label values."""
        ...

    def totals(self, name: str, size: int) -> Mapping[Labels, list[float]]:
        """The sums over all workers, by label values."""
        ...

    def set_levels(self, name: str, readings: Readings) -> None:
        """What goes up and down, as it is now; label values that are absent are zero."""
        ...

    def levels(self, name: str) -> Mapping[Labels, float]:
        """The sums over the workers that live; zeros are left out."""
        ...


class OwnCells:
    """Cells of a process that has no siblings."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, int], dict[Labels, list[float]]] = {}
        self._levels: dict[str, dict[Labels, float]] = {}

    def cell(self, name: str, labels: Labels, size: int) -> Values:
        return self._cells.setdefault((name, size), {}).setdefault(labels, [0.0] * size)

    def own(self, name: str, size: int) -> Collection[Labels]:
        return self._cells.get((name, size), {}).keys() | self._levels.get(name, {}).keys()

    def drop(self, name: str, labels: Labels, size: int) -> None:
        self._cells.get((name, size), {}).pop(labels, None)
        self._levels.get(name, {}).pop(labels, None)

    def each(self, name: str, size: int) -> Iterator[tuple[Labels, Values]]:
        yield from self._cells.get((name, size), {}).items()

    def totals(self, name: str, size: int) -> Mapping[Labels, list[float]]:
        return self._cells.get((name, size), {})

    def set_levels(self, name: str, readings: Readings) -> None:
        self._levels[name] = {labels: value for labels, value in readings if value}

    def levels(self, name: str) -> Mapping[Labels, float]:
        return self._levels.get(name, {})


class SharedCells:
    """Cells in `memory`, which is a whole number of slots; ours is `slot`. Zeros to begin with.

    A cell for which the slot has no room is kept in this process alone, which is logged once.
    """

    def __init__(
        self,
        memory: memoryview,
        slot: int,
        now_s: Callable[[], float],
        *,
        slot_bytes: int = SLOT_BYTES,
    ) -> None:
        """`now_s`: a clock that all workers share, such as the machine's monotonic one."""
        self._slots = [
            _Slot(memory[start : start + slot_bytes]) for start in range(0, len(memory), slot_bytes)
        ]
        self._own = self._slots[slot]
        self._own.levels_s = 0.0  # those of a predecessor
        self._now_s = now_s
        self._homeless = OwnCells()
        self._is_full = False

    def cell(self, name: str, labels: Labels, size: int) -> Values:
        known = self._own.cell(name, labels, size)
        if known is None and self._own.append(name, labels, size):
            known = self._own.cell(name, labels, size)
        if known is not None:
            return known
        if not self._is_full:
            self._is_full = True
            log.error(F.METRICS_FULL)
        return self._homeless.cell(name, labels, size)

    def own(self, name: str, size: int) -> Collection[Labels]:
        return self._own.cells(name, size).keys() | self._homeless.own(name, size)

    def drop(self, name: str, labels: Labels, size: int) -> None:
        self._own.drop(name, labels, size)
        self._homeless.drop(name, labels, size)

    def each(self, name: str, size: int) -> Iterator[tuple[Labels, Values]]:
        for slot in self._slots:
            yield from slot.cells(name, size).items()
        yield from self._homeless.each(name, size)

    def totals(self, name: str, size: int) -> Mapping[Labels, list[float]]:
        sums: dict[Labels, list[float]] = {}
        for labels, values in self.each(name, size):
            before = sums.get(labels)
            sums[labels] = (
                list(values)
                if before is None
                else [a + b for a, b in zip(before, values, strict=True)]
            )
        return sums

    def set_levels(self, name: str, readings: Readings) -> None:
        absent = set(self._own.cells(name, 1))
        for labels, value in readings:
            self.cell(name, labels, 1)[0] = value
            absent.discard(labels)
        for labels in absent:
            self.cell(name, labels, 1)[0] = 0.0
        self._own.levels_s = self._now_s()

    def levels(self, name: str) -> Mapping[Labels, float]:
        oldest_s = self._now_s() - _LEVELS_HOLD_S
        sums: dict[Labels, float] = {}
        for slot in self._slots:
            if slot.levels_s > oldest_s:
                for labels, values in slot.cells(name, 1).items():
                    if values[0]:
                        sums[labels] = sums.get(labels, 0.0) + values[0]
        return sums


class _Slot:
    """One worker's part of the memory, as far as it was read until now."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._doubles: memoryview[float] = memory.cast("d")
        self._words: memoryview[int] = memory.cast("Q")
        self._generation = -1
        self._read_bytes = 0
        self._cells: dict[tuple[str, int], dict[Labels, _Cell]] = {}
        # by number of values: where a cell was dropped, and how long its key may be
        self._free: dict[int, dict[int, int]] = {}

    @property
    def levels_s(self) -> float:
        """When its levels were told; 0 for never."""
        return self._doubles[1]

    @levels_s.setter
    def levels_s(self, now_s: float) -> None:
        self._doubles[1] = now_s

    def cells(self, name: str, size: int) -> Mapping[Labels, Values]:
        self._read()
        return {labels: cell.values for labels, cell in self._cells.get((name, size), {}).items()}

    def cell(self, name: str, labels: Labels, size: int) -> Values | None:
        self._read()
        cell = self._cells.get((name, size), {}).get(labels)
        return None if cell is None else cell.values

    def append(self, name: str, labels: Labels, size: int) -> bool:
        """Put a cell of zeros where one was dropped, or at the end. False: there is no room."""
        self._read()
        key = msgspec.json.encode((name, labels))
        key = key.ljust(_padded(len(key), _KEY_BYTES))
        free = self._free.get(size, {})
        start = next((at for at, room in free.items() if room >= len(key)), None)
        if start is not None:
            room = free.pop(start)
            self._write(start, key.ljust(room), size)
            self._words[2] = self._generation = self._generation + 1
            return True
        start = self._read_bytes
        end = _values_at(start, len(key)) + size * _WORD_BYTES
        if end > len(self._memory):
            return False
        self._write(start, key, size)
        self._words[0] = end
        return True

    def drop(self, name: str, labels: Labels, size: int) -> None:
        """Give up a cell's place, if there is one."""
        self._read()
        cell = self._cells.get((name, size), {}).pop(labels, None)
        if cell is None:
            return
        key_bytes, _ = _CELL.unpack_from(self._memory, cell.start)
        _CELL.pack_into(self._memory, cell.start, key_bytes, size | _DROPPED)
        self._free.setdefault(size, {})[cell.start] = key_bytes
        self._words[2] = self._generation = self._generation + 1

    def _write(self, start: int, key: bytes, size: int) -> None:
        key_at, values_at = start + _CELL.size, _values_at(start, len(key))
        end = values_at + size * _WORD_BYTES
        self._memory[key_at : key_at + len(key)] = key
        self._memory[values_at:end] = bytes(end - values_at)
        _CELL.pack_into(self._memory, start, len(key), size)
        name, labels = msgspec.json.decode(key, type=tuple[str, Labels])
        self._keep(name, labels, size, start, len(key))
        self._read_bytes = max(self._read_bytes, end)

    def _read(self) -> None:
        """Take in the cells that were appended since."""
        if self._words[2] != self._generation:
            # what was read may have another cell in its place
            self._generation, self._read_bytes = self._words[2], _HEAD.size
            self._cells, self._free = {}, {}
        used = self._words[0]
        while self._read_bytes < used:
            start = self._read_bytes
            key_bytes, size = _CELL.unpack_from(self._memory, start)
            is_dropped, size = size & _DROPPED, size & ~_DROPPED
            self._read_bytes = _values_at(start, key_bytes) + size * _WORD_BYTES
            if is_dropped:
                self._free.setdefault(size, {})[start] = key_bytes
                continue
            key = self._memory[start + _CELL.size : start + _CELL.size + key_bytes]
            name, labels = msgspec.json.decode(key, type=tuple[str, Labels])
            self._keep(name, labels, size, start, key_bytes)

    def _keep(self, name: str, labels: Labels, size: int, start: int, key_bytes: int) -> None:
        first = _values_at(start, key_bytes) // _WORD_BYTES
        cell = _Cell(start, self._doubles[first : first + size])
        self._cells.setdefault((name, size), {})[labels] = cell


class _Cell(NamedTuple):
    start: int
    values: Values


def _values_at(start: int, key_bytes: int) -> int:
    return _padded(start + _CELL.size + key_bytes)


def _padded(size_bytes: int, to_bytes: int = _WORD_BYTES) -> int:
    return -(-size_bytes // to_bytes) * to_bytes
