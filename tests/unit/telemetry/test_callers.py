"""Who has series of their own, in one process and in several that share their cells."""

from gateway.telemetry.callers import NOBODY, OTHER, Callers
from gateway.telemetry.cells import OwnCells, SharedCells
from tests.support.fake_clock import FakeClock

SLOT = 4096


def siblings(count: int, most: int) -> list[Callers]:
    memory, clock = memoryview(bytearray(count * SLOT)), FakeClock()
    return [
        Callers(SharedCells(memory, slot, clock.now_s, slot_bytes=SLOT), most)
        for slot in range(count)
    ]


def test_the_first_ones_keep_their_names_and_the_rest_have_none() -> None:
    callers = Callers(OwnCells(), 2)
    names = ("a", "b", "c", "a", "d", "b")
    assert [callers.shown(name) for name in names] == ["a", "b", OTHER, "a", OTHER, "b"]


def test_whoever_had_no_key_is_nobody_and_takes_no_place() -> None:
    callers = Callers(OwnCells(), 1)
    assert [callers.shown(name) for name in (NOBODY, "a", NOBODY)] == [NOBODY, "a", NOBODY]


def test_none_may_have_a_name() -> None:
    assert Callers(OwnCells(), 0).shown("a") == OTHER


def test_all_workers_let_the_same_callers_in() -> None:
    one, other = siblings(2, most=2)
    assert [one.shown("a"), other.shown("b")] == ["a", "b"]
    for worker in (one, other):
        assert [worker.shown(name) for name in ("a", "b", "c")] == ["a", "b", OTHER]


def test_who_was_let_in_elsewhere_at_the_same_time_is_known_a_moment_later() -> None:
    memory, clock = memoryview(bytearray(2 * SLOT)), FakeClock()
    cells = [SharedCells(memory, slot, clock.now_s, slot_bytes=SLOT) for slot in range(2)]
    one = Callers(cells[0], 1)
    assert one.shown("a") == "a"
    assert one.shown("b") == OTHER
    cells[1].cell("callers", ("b",), 1)  # the sibling did not see `a` yet
    assert one.shown("b") == OTHER
    one.look_again()
    assert one.shown("b") == "b"
    assert one.shown("c") == OTHER
