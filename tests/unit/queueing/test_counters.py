import pytest

from gateway.queueing import counters
from gateway.queueing.counters import Counters, Tally, cost


def test_a_token_written_counts_twice_one_read() -> None:
    assert cost(10, 5) == 20


def test_tokens_count_by_weight() -> None:
    tally = Tally(weight=4)
    tally.charge(100)
    assert tally.served == 25


def test_what_was_held_becomes_what_was_served() -> None:
    tally = Tally(1)
    tally.charge(100)
    tally.settle(100, 10, 20)
    assert tally.served == 50
    tally.charge(30)
    tally.settle(30, 0, 0)
    assert tally.served == 50


def test_predictions_follow_what_the_callers_answers_were() -> None:
    tally = Tally(1)
    assert tally.predicted(10, None) == cost(10, 256)
    for _ in range(200):
        tally.settle(0, 0, 50)
    assert tally.predicted(10, None) == pytest.approx(cost(10, 50), rel=0.01)
    assert tally.predicted(10, 5) == cost(10, 5)
    assert tally.predicted(10, 1e9) == tally.predicted(10, None)
    assert tally.predicted(10, -1) == tally.predicted(10, None)


def test_a_call_that_took_nothing_teaches_nothing() -> None:
    tally = Tally(1)
    tally.settle(0, 0, 0)
    assert tally.predicted(0, None) == cost(0, 256)


def test_a_pause_earns_nothing() -> None:
    known = Counters()
    busy, idle = known.of("busy", 1), known.of("idle", 1)
    busy.charge(1000)
    known.lift(idle, [busy])
    assert idle.served == 1000
    idle.charge(500)
    known.lift(idle, [busy])
    assert idle.served == 1500


def test_the_last_that_left_an_empty_line_is_the_floor() -> None:
    known = Counters()
    busy = known.of("busy", 1)
    busy.charge(700)
    known.left(busy)
    new = known.of("new", 1)
    known.lift(new, [])
    assert new.served == 700


def test_a_changed_weight_holds_at_once() -> None:
    known = Counters()
    known.of("team", 1)
    assert known.of("team", 3).weight == 3


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MOST_KNOWN", 4)
    known = Counters()
    for number in range(4):
        known.of(str(number), 1).charge(number)
    known.left(known.of("1", 1))
    known.of("new", 1)
    assert set(known._tallies) == {"2", "3", "new"}
    for number in range(4):
        known.of(f"big{number}", 1).charge(100)
    assert len(known._tallies) <= 4


def test_how_long_answers_take_includes_the_longer_ones() -> None:
    assert Tally(1).needs_s is None
    tally = Tally(1)
    for _ in range(100):
        tally.took(2.0, is_whole=True)
    assert tally.needs_s == pytest.approx(2.0, rel=0.01)
    for _ in range(50):
        tally.took(1.0, is_whole=True)
        tally.took(3.0, is_whole=True)
    assert tally.needs_s is not None
    assert 3 < tally.needs_s < 5


def test_what_was_cut_off_says_only_that_it_takes_longer() -> None:
    tally = Tally(1)
    for _ in range(100):
        tally.took(2.0, is_whole=True)
    tally.took(0.1, is_whole=False)
    assert tally.needs_s == pytest.approx(2.0, rel=0.01)
    tally.took(5.0, is_whole=False)
    assert tally.needs_s is not None
    assert tally.needs_s > 2.5
