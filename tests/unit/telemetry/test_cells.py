"""Cells over plain bytes: what workers see of each other needs no processes to be shown."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.cells import Cells, Labels, OwnCells, SharedCells
from tests.support.fake_clock import FakeClock

SLOT = 4096


class Siblings:
    """Workers that share a memory, and the clock of their machine."""

    def __init__(self, workers: int = 2, slot_bytes: int = SLOT) -> None:
        self.clock = FakeClock()
        self.memory = bytearray(workers * slot_bytes)
        self._slot_bytes = slot_bytes

    def worker(self, slot: int) -> SharedCells:
        """A new process in this slot."""
        return SharedCells(
            memoryview(self.memory), slot, self.clock.now_s, slot_bytes=self._slot_bytes
        )


def add(cells: Cells, name: str, labels: Labels, *amounts: float) -> None:
    values = cells.cell(name, labels, len(amounts))
    for index, amount in enumerate(amounts):
        values[index] += amount


@pytest.fixture(params=["own", "shared"])
def cells(request: pytest.FixtureRequest) -> Cells:
    return OwnCells() if request.param == "own" else Siblings(1).worker(0)


def test_a_cell_begins_with_zeros_and_stays_the_same(cells: Cells) -> None:
    assert list(cells.cell("calls", ("a",), 2)) == [0, 0]
    add(cells, "calls", ("a",), 1, 2)
    add(cells, "calls", ("a",), 1, 2)
    assert list(cells.cell("calls", ("a",), 2)) == [2, 4]
    assert cells.totals("calls", 2) == {("a",): [2, 4]}


def test_names_labels_and_sizes_are_kept_apart(cells: Cells) -> None:
    add(cells, "calls", ("a",), 1)
    add(cells, "calls", ("b",), 2)
    add(cells, "calls", ("a",), 3, 3)
    add(cells, "other", ("a",), 4)
    assert cells.totals("calls", 1) == {("a",): [1], ("b",): [2]}
    assert cells.totals("calls", 2) == {("a",): [3, 3]}
    assert cells.totals("other", 1) == {("a",): [4]}
    assert cells.totals("none", 1) == {}


def test_labels_may_hold_anything(cells: Cells) -> None:
    labels = ("", 'a "quoted"', "löwe\n", "x" * 300)
    add(cells, "calls", labels, 1)
    assert cells.totals("calls", 1) == {labels: [1]}


def test_levels_are_what_was_told_last(cells: Cells) -> None:
    cells.set_levels("busy", [(("a",), 3), (("b",), 1)])
    cells.set_levels("busy", [(("a",), 2)])
    assert cells.levels("busy") == {("a",): 2}
    assert cells.levels("none") == {}


def test_a_sum_is_over_all_workers() -> None:
    siblings = Siblings()
    one, other = siblings.worker(0), siblings.worker(1)
    add(one, "calls", ("a",), 1)
    add(other, "calls", ("a",), 2)
    add(other, "calls", ("b",), 5)
    add(one, "waits", (), 1, 0, 0.5)
    add(other, "waits", (), 0, 2, 3.0)
    for scraped in (one, other):
        assert scraped.totals("calls", 1) == {("a",): [3], ("b",): [5]}
        assert scraped.totals("waits", 3) == {(): [1, 2, 3.5]}


def test_cells_that_a_sibling_adds_after_the_first_look_are_found() -> None:
    siblings = Siblings()
    one, other = siblings.worker(0), siblings.worker(1)
    add(one, "calls", ("a",), 1)
    assert other.totals("calls", 1) == {("a",): [1]}
    add(one, "calls", ("b",), 1)
    add(one, "calls", ("a",), 1)
    assert other.totals("calls", 1) == {("a",): [2], ("b",): [1]}


def test_what_a_dead_worker_has_counted_stays_counted_and_its_replacement_counts_on() -> None:
    siblings = Siblings()
    scraped, dead = siblings.worker(0), siblings.worker(1)
    add(dead, "calls", ("a",), 7)
    add(dead, "calls", ("b",), 1)
    del dead
    assert scraped.totals("calls", 1) == {("a",): [7], ("b",): [1]}
    replacement = siblings.worker(1)
    assert replacement.totals("calls", 1) == {("a",): [7], ("b",): [1]}
    add(replacement, "calls", ("a",), 1)
    assert scraped.totals("calls", 1) == {("a",): [8], ("b",): [1]}


def test_a_cell_whose_worker_died_while_it_was_written_does_not_exist() -> None:
    siblings = Siblings()
    worker = siblings.worker(0)
    add(worker, "calls", ("a",), 1)
    used = siblings.memory[:8]
    add(worker, "calls", ("b",), 9)
    siblings.memory[:8] = used  # as if it had died just before it said so
    replacement = siblings.worker(0)
    assert replacement.totals("calls", 1) == {("a",): [1]}
    add(replacement, "calls", ("c",), 1)
    assert siblings.worker(1).totals("calls", 1) == {("a",): [1], ("c",): [1]}


def test_levels_are_summed_over_the_workers_that_live() -> None:
    siblings = Siblings()
    one, other = siblings.worker(0), siblings.worker(1)
    one.set_levels("busy", [(("a",), 1), (("b",), 0)])
    other.set_levels("busy", [(("a",), 2), (("c",), 4)])
    assert one.levels("busy") == {("a",): 3, ("c",): 4}


def test_levels_of_a_worker_that_has_been_silent_do_not_count() -> None:
    siblings = Siblings()
    one, other = siblings.worker(0), siblings.worker(1)
    other.set_levels("busy", [(("a",), 2)])
    siblings.clock.pass_s(3)
    one.set_levels("busy", [(("a",), 1)])
    assert one.levels("busy") == {("a",): 3}
    siblings.clock.pass_s(1)
    assert one.levels("busy") == {("a",): 1}


def test_a_replacement_does_not_inherit_levels() -> None:
    siblings = Siblings()
    scraped, dead = siblings.worker(0), siblings.worker(1)
    dead.set_levels("busy", [(("a",), 2)])
    replacement = siblings.worker(1)
    assert scraped.levels("busy") == {}
    replacement.set_levels("busy", [(("b",), 1)])
    assert scraped.levels("busy") == {("b",): 1}


def test_without_room_a_worker_counts_alone_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    siblings = Siblings(slot_bytes=64)
    one, other = siblings.worker(0), siblings.worker(1)
    for labels in (("a",), ("b",), ("c",)):
        add(one, "calls", labels, 1)
        add(one, "calls", labels, 1)
    assert one.totals("calls", 1) == {("a",): [2], ("b",): [2], ("c",): [2]}
    assert other.totals("calls", 1) == {("a",): [2]}
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in told] == ["metrics_full"]


labels_of = st.tuples(st.text(max_size=5), st.text(max_size=5))
steps = st.tuples(st.integers(0, 2), labels_of, st.integers(0, 9), st.booleans())


@given(st.lists(steps, max_size=60))
def test_every_scrape_is_the_sum_of_all_that_was_counted_whoever_died(
    story: list[tuple[int, Labels, int, bool]],
) -> None:
    siblings = Siblings(3, slot_bytes=1 << 16)
    workers = [siblings.worker(slot) for slot in range(3)]
    wanted: dict[Labels, list[float]] = {}
    for slot, labels, amount, dies in story:
        if dies:
            workers[slot] = siblings.worker(slot)
        add(workers[slot], "calls", labels, amount)
        wanted.setdefault(labels, [0.0])[0] += amount
    assert [one.totals("calls", 1) for one in workers] == [wanted] * 3


def test_a_dropped_cell_is_gone_and_another_is_zeros(cells: Cells) -> None:
    add(cells, "calls", ("a",), 1)
    add(cells, "calls", ("b",), 2)
    cells.drop("calls", ("a",), 1)
    cells.drop("calls", ("never",), 1)
    assert set(cells.own("calls", 1)) == {("b",)}
    assert cells.totals("calls", 1) == {("b",): [2]}
    assert list(cells.cell("calls", ("a",), 1)) == [0]


def test_a_dropped_level_is_gone(cells: Cells) -> None:
    cells.set_levels("load", [(("a",), 1.0)])
    assert set(cells.own("load", 1)) == {("a",)}
    cells.drop("load", ("a",), 1)
    assert cells.levels("load") == {}
    assert set(cells.own("load", 1)) == set()


def test_the_place_of_a_dropped_cell_is_used_again_and_siblings_see_it() -> None:
    siblings = Siblings()
    one, other = siblings.worker(0), siblings.worker(1)
    for number in range(2000):
        add(one, "calls", (f"pod-{number:04}",), 1, 2)
        assert other.totals("calls", 2) == {(f"pod-{number:04}",): [1, 2]}
        one.drop("calls", (f"pod-{number:04}",), 2)
    assert other.totals("calls", 2) == {}


def test_who_takes_over_a_slot_knows_what_was_dropped_there() -> None:
    siblings = Siblings(1)
    before = siblings.worker(0)
    add(before, "calls", ("a",), 1)
    add(before, "calls", ("b",), 2)
    before.drop("calls", ("a",), 1)
    after = siblings.worker(0)
    assert after.totals("calls", 1) == {("b",): [2]}
    used = bytes(siblings.memory[:8])
    add(after, "calls", ("c",), 3)
    assert bytes(siblings.memory[:8]) == used
    assert siblings.worker(0).totals("calls", 1) == {("b",): [2], ("c",): [3]}


def test_a_longer_key_does_not_fit_in_the_place_of_a_shorter_one() -> None:
    siblings = Siblings(1)
    worker = siblings.worker(0)
    add(worker, "calls", ("a",), 1)
    worker.drop("calls", ("a",), 1)
    add(worker, "calls", ("a" * 100,), 2)
    assert siblings.worker(0).totals("calls", 1) == {("a" * 100,): [2]}


def test_what_a_sibling_holds_of_its_cells_stays_good_when_another_is_dropped() -> None:
    worker = Siblings(1).worker(0)
    held = worker.cell("calls", ("a",), 1)
    add(worker, "calls", ("b",), 1)
    worker.drop("calls", ("b",), 1)
    held[0] += 5
    assert worker.totals("calls", 1) == {("a",): [5]}


def test_the_cells_of_every_worker_can_be_looked_at_one_by_one() -> None:
    siblings = Siblings(slot_bytes=128)
    one, other = siblings.worker(0), siblings.worker(1)
    add(one, "calls", ("a",), 1)
    add(other, "calls", ("a",), 2)
    add(one, "calls", ("for which there is no room any longer" * 3,), 3)
    assert sorted(next(iter(values)) for _, values in one.each("calls", 1)) == [1, 2, 3]
    assert [labels for labels, _ in other.each("calls", 1)] == [("a",), ("a",)]
