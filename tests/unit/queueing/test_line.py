from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.access import Priority
from gateway.queueing.line import BATCH_EVERY, Line
from gateway.queueing.rank import Waiter

A: tuple[str, Priority] = ("a", "interactive")


def a_waiter(
    line: Line, caller: str = "a", priority: Priority = "interactive", **more: Any
) -> Waiter:
    return Waiter(caller, line.tally(caller, 1, priority), priority, more.pop("cost", 10), **more)


def joined(line: Line, *told: tuple[str, Priority], **more: Any) -> list[Waiter]:
    waiters = [a_waiter(line, caller, priority, **more) for caller, priority in told]
    for waiter in waiters:
        line.join(waiter)
    return waiters


def anyone(_: Waiter) -> bool:
    return True


def test_nobody_is_next_in_an_empty_line() -> None:
    assert Line().next(anyone) is None


def test_interactive_calls_go_before_batch() -> None:
    line = Line()
    batch, urgent = joined(line, ("b", "batch"), ("a", "interactive"))
    assert list(line) == [urgent, batch]
    assert line.next(anyone) is urgent
    assert line.next(anyone) is batch
    assert len(line) == 0


def test_batch_gets_one_of_twenty_places() -> None:
    line = Line()
    for _ in range(200):
        joined(line, ("a", "interactive"), ("b", "batch"))
    given = [line.next(anyone) for _ in range(100)]
    assert sum(one is not None and one.priority == "batch" for one in given) == 100 // BATCH_EVERY


def test_turns_in_which_no_batch_waited_do_not_count() -> None:
    line = Line()
    for _ in range(40):
        joined(line, ("a", "interactive"))
        line.next(anyone)
    urgent, _ = joined(line, ("a", "interactive"), ("b", "batch"))
    assert line.next(anyone) is urgent


def test_who_had_a_place_before_goes_first_and_not_to_where_it_was() -> None:
    line = Line()
    joined(line, ("a", "interactive"))
    again, other = joined(line, ("b", "batch"), ("c", "batch"), is_first=True, tried=["r0"])
    assert len(line) == 3
    only_r0 = line.next(lambda one: "r0" not in one.tried)
    assert only_r0 is not None
    assert only_r0.caller == "a"
    assert line.next(anyone) is again
    assert again.tally.served == again.cost
    assert line.leave(other)
    assert not line.leave(other)


def test_who_left_is_not_next() -> None:
    line = Line()
    one, two = joined(line, ("a", "interactive"), ("b", "batch"))
    assert line.leave(one)
    assert not line.leave(one)
    assert line.next(anyone) is two


def test_how_many_go_before() -> None:
    line = Line()
    joined(line, ("a", "interactive"), ("a", "interactive"), ("b", "batch"))
    joined(line, ("c", "batch"), is_first=True)
    assert line.ahead_of(a_waiter(line, "a")) == 3
    assert line.ahead_of(a_waiter(line, "b", "batch")) == 1 + 2 + 1
    assert line.ahead_of(a_waiter(line, "b", is_first=True)) == 1


def test_batch_never_waits_for_all_that_are_before_it() -> None:
    line = Line()
    joined(line, *[A] * 500)
    assert line.ahead_of(a_waiter(line, "b", "batch")) == BATCH_EVERY - 1


def test_in_a_full_line_the_greediest_gives_way() -> None:
    line = Line()
    waiters = joined(line, *[A] * 3, ("b", "interactive"))
    assert line.to_displace(a_waiter(line, "c")) is waiters[2]
    assert line.to_displace(a_waiter(line, "b")) is waiters[2]
    assert line.to_displace(a_waiter(line, "a")) is None


def test_batch_gives_way_to_interactive_and_never_the_other_way() -> None:
    line = Line()
    assert line.to_displace(a_waiter(line, "a")) is None
    joined(line, *[A] * 3)
    assert line.to_displace(a_waiter(line, "b", "batch")) is None
    (batch,) = joined(line, ("b", "batch"))
    assert line.to_displace(a_waiter(line, "a")) is batch
    assert line.to_displace(a_waiter(line, "b", "batch")) is None
    assert line.to_displace(a_waiter(line, "c", is_first=True)) is batch


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["interactive", "batch"]), st.booleans())
    )
)
def test_everybody_who_joins_is_next_once(told: list[tuple[str, Priority, bool]]) -> None:
    line = Line()
    expected = [
        a_waiter(line, caller, priority, is_first=is_first) for caller, priority, is_first in told
    ]
    for waiter in expected:
        line.join(waiter)
    assert len(line) == len(expected) == len(list(line))
    found = [line.next(anyone) for _ in expected]
    assert sorted(map(id, found)) == sorted(map(id, expected))
    assert len(line) == 0
