from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from gateway.telemetry.exemplars import NUMBERS, Exemplar, Mark, keep, newest


def a_cell(buckets: int = 2) -> list[float]:
    return [0.0] * (buckets * NUMBERS)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.floats(1, 4e9), st.floats(0, 1e6))
def test_what_is_kept_is_found_again(trace: int, span: int, unix_s: float, value: float) -> None:
    cell, mark = a_cell(), Mark(trace, span, unix_s)
    keep(cell, 1, value, mark)
    assert newest([cell], 2) == [None, Exemplar(mark, value)]


def test_the_last_one_of_a_bucket_stays() -> None:
    cell = a_cell()
    for number in (1, 2):
        keep(cell, 0, number, Mark(number, number, 100.0 + number))
    assert newest([cell], 2) == [Exemplar(Mark(2, 2, 102.0), 2), None]


def test_of_all_workers_the_newest_is_shown() -> None:
    cells = [a_cell(), a_cell(), a_cell()]
    for cell, unix_s in zip(cells, (5.0, 9.0, 7.0), strict=True):
        keep(cell, 0, 1.0, Mark(int(unix_s), 1, unix_s))
    assert newest(cells, 2)[0] == Exemplar(Mark(9, 1, 9.0), 1.0)


class Rewritten(list[float]):
    """A cell that its worker writes to while it is read."""

    @override
    def __getitem__(self, index: int) -> float:  # type: ignore[override]
        found = super().__getitem__(index)
        if index == 2:
            keep(self, 0, 1.0, Mark(2, 2, 2.0))
        return found

    @override
    def __iter__(self) -> Iterator[float]:
        raise NotImplementedError


def test_one_that_is_rewritten_meanwhile_is_not_half_read() -> None:
    cell = Rewritten(a_cell(1))
    keep(cell, 0, 1.0, Mark(1, 1, 1.0))
    assert newest([cell], 1) == [None]
