"""Which traced call fell last into each bucket of a histogram. No I/O.

They lie in cells as the counts do, so that every worker shows the newest of all. A bucket has
eight numbers: when (seconds since 1970; 0 for never), the value, the trace id in four parts of
32 bits, the span id in two. The time is taken away first and written last: who reads meanwhile
finds a whole exemplar or none.

Source: OpenMetrics 1.0, exemplars.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.telemetry.cells import Values

NUMBERS: Final = 8  # of a bucket
_WHEN, _VALUE, _IDS = 0, 1, 2
_PART_BITS: Final = 32
_PART: Final = (1 << _PART_BITS) - 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A call whose spans are sent: its trace, its own span, and when it ended (since 1970)."""

    trace: int
    span: int
    unix_s: float


@dataclass(frozen=True, slots=True)
class Exemplar:
    """The last traced call in a bucket, and its value there."""

    mark: Mark
    value: float


def keep(values: Values, bucket: int, value: float, mark: Mark) -> None:
    """`values`: the cell of a histogram's exemplars."""
    at = bucket * NUMBERS
    ids = (mark.trace << 2 * _PART_BITS) | mark.span
    values[at + _WHEN] = 0.0
    values[at + _VALUE] = value
    for part in range(NUMBERS - 1, _IDS - 1, -1):
        values[at + part] = float(ids & _PART)
        ids >>= _PART_BITS
    values[at + _WHEN] = mark.unix_s


def newest(cells: Iterable[Values], buckets: int) -> list[Exemplar | None]:
    """By bucket. None: no traced call ever fell into it. `cells`: one of each worker."""
    found: list[Exemplar | None] = [None] * buckets
    for values in cells:
        for bucket in range(buckets):
            known, one = found[bucket], _read(values, bucket * NUMBERS)
            if one is not None and (known is None or known.mark.unix_s < one.mark.unix_s):
                found[bucket] = one
    return found


def _read(values: Values, at: int) -> Exemplar | None:
    when = values[at + _WHEN]
    if not when:
        return None
    value, ids = values[at + _VALUE], 0
    for part in range(_IDS, NUMBERS):
        ids = (ids << _PART_BITS) | int(values[at + part])
    if values[at + _WHEN] != when:
        return None
    mark = Mark(ids >> 2 * _PART_BITS, ids & ((1 << 2 * _PART_BITS) - 1), when)
    return Exemplar(mark, value)
