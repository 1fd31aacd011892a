"""Where metrics keep their numbers: in this process, or where its sibling workers see them.

Shared numbers lie in one piece of memory that all workers map, with a slot for each of them.
Only its worker writes to a slot, everybody reads all. A cell stays where it was put, so that
recording is one addition; and what a worker has counted outlives it, even a kill -9: its
replacement takes over the slot and counts on. So a sum over all slots never goes down.

Levels, which go up and down, are told once a second with the time; those of a worker that has
been silent for a few seconds do not count.

A slot: its used bytes (uint64), the time of its levels (double), then its cells: bytes of key and
number of values (uint32 each), key (name and label values in JSON, padded to 8 bytes), values
(doubles). The used bytes are written last, so that a reader meets whole cells only.
"""

import logging
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names

log = logging.getLogger(__name__)

Labels = tuple[str, ...]
Readings = Iterable[tuple[Labels, float]]

SLOT_BYTES = 8 * 1024 * 1024
LEVELS_EVERY_S = 1.0
_LEVELS_HOLD_S = 3.5
_HEAD = struct.Struct("=Qd")
_CELL = struct.Struct("=II")
_WORD_BYTES = 8


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
        known = self._own.cells(name, size).get(labels)
        if known is not None:
            return known
        if self._own.append(name, labels, size):
            return self._own.cells(name, size)[labels]
        if not self._is_full:
            self._is_full = True
            log.error(F.METRICS_FULL)
        return self._homeless.cell(name, labels, size)

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
            self._own.cells(name, 1)[labels][0] = 0.0
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
        self._read_bytes = _HEAD.size
        self._cells: dict[tuple[str, int], dict[Labels, Values]] = {}

    @property
    def levels_s(self) -> float:
        """When its levels were told; 0 for never."""
        return self._doubles[1]

    @levels_s.setter
    def levels_s(self, now_s: float) -> None:
        self._doubles[1] = now_s

    def cells(self, name: str, size: int) -> Mapping[Labels, Values]:
        self._read()
        return self._cells.get((name, size), {})

    def append(self, name: str, labels: Labels, size: int) -> bool:
        """Put a cell of zeros at the end. False: there is no room for it."""
        self._read()
        start = self._read_bytes
        key = msgspec.json.encode((name, labels))
        values_at = _padded(start + _CELL.size + len(key))
        end = values_at + size * _WORD_BYTES
        if end > len(self._memory):
            return False
        _CELL.pack_into(self._memory, start, len(key), size)
        self._memory[start + _CELL.size : start + _CELL.size + len(key)] = key
        self._memory[values_at:end] = bytes(end - values_at)
        self._memory.cast("Q")[0] = end
        return True

    def _read(self) -> None:
        """Take in the cells that were appended since."""
        used = self._memory.cast("Q")[0]
        while self._read_bytes < used:
            start = self._read_bytes
            key_bytes, size = _CELL.unpack_from(self._memory, start)
            key = self._memory[start + _CELL.size : start + _CELL.size + key_bytes]
            name, labels = msgspec.json.decode(key, type=tuple[str, Labels])
            values_at = _padded(start + _CELL.size + key_bytes)
            self._read_bytes = values_at + size * _WORD_BYTES
            first = values_at // _WORD_BYTES
            self._cells.setdefault((name, size), {})[labels] = self._doubles[first : first + size]


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _WORD_BYTES) * _WORD_BYTES
