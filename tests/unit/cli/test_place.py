import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.cli.place import Place, shared_memory
from gateway.telemetry.cells import SLOT_BYTES


@contextmanager
def memory_for(workers: int) -> Iterator[int]:
    file = shared_memory(workers * SLOT_BYTES)
    try:
        yield file
    finally:
        os.close(file)


def test_a_place_survives_the_command_line() -> None:
    place = Place(3, 4, 5, 6, 7, 1, 2)
    assert Place.read(str(place)) == place
    assert place.files == (3, 4, 5, 6, 7)


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_workers_count_together_in_a_file_without_a_name(
    has_memory_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with memory_for(2) as file:
        one, other = (Place(0, 0, file, 0, 0, number, 2).cells() for number in (0, 1))
        one.cell("calls", ("a",), 1)[0] += 1
        other.cell("calls", ("a",), 1)[0] += 2
        assert one.totals("calls", 1) == other.totals("calls", 1) == {("a",): [3]}


def test_memory_that_is_not_used_is_not_taken() -> None:
    with memory_for(256) as file:
        Place(0, 0, file, 0, 0, 255, 256).cells().cell("calls", (), 1)
        taken = os.fstat(file)
    assert taken.st_size == 256 * SLOT_BYTES
    assert taken.st_blocks * 512 < SLOT_BYTES
