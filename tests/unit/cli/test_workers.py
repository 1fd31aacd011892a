"""Who starts, replaces and ends workers, with processes and time that only a test has."""

import signal

import pytest

from gateway.cli.workers import Crew
from tests.support.crews import AProcess, Bench, kill


def test_every_place_has_a_worker_and_a_signal_ends_them_all() -> None:
    bench = Bench(3)
    assert bench.run(stop_s=1) == 0
    assert [one.number for one in bench.started] == [0, 1, 2]
    assert [one.signals for one in bench.started] == [[signal.SIGTERM]] * 3


def test_one_that_dies_old_is_replaced_at_once_in_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.at(10, lambda: kill(bench.started[1]))
    assert bench.run() == 0
    assert bench.starts_of(0) == [0]
    assert bench.starts_of(1) == [0, 10]
    (told,) = caplog.records
    assert told.getMessage() == "worker_ended"
    assert vars(told)["worker"] == 1
    assert vars(told)["reason"] == "signal 9"


def test_one_that_dies_young_is_replaced_after_a_pause_that_grows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    for when_s in (1, 2, 4):
        bench.at(when_s, lambda: kill(bench.started[-1], 2))
    assert bench.run() == 0
    assert bench.starts_of(1) == [0, 1.5, 3, 6]
    assert {vars(record)["reason"] for record in caplog.records} == {"exit code 2"}


def test_one_that_lived_long_begins_again_with_short_pauses() -> None:
    bench = Bench()
    for when_s in (1, 20, 21):
        bench.at(when_s, lambda: kill(bench.started[-1]))
    assert bench.run() == 0
    assert bench.starts_of(1) == [0, 1.5, 20, 21.5]


def test_when_all_die_right_after_their_start_again_and_again_it_gives_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.die_at_once = True
    assert bench.run() == 1
    assert len(bench.started) == 8
    assert bench.clock.now < 10
    assert caplog.records[-1].getMessage() == "workers_given_up"


def test_while_one_serves_the_others_are_tried_for_ever() -> None:
    bench = Bench()
    bench.at(0.1, lambda: setattr(bench, "die_at_once", True))
    bench.at(0.2, lambda: kill(bench.started[1]))
    assert bench.run() == 0
    assert len(bench.starts_of(1)) > 6
    pauses = [b - a for a, b in zip(bench.starts_of(1), bench.starts_of(1)[1:], strict=False)]
    assert max(pauses) < 10.5
    assert bench.starts_of(0) == [0]


def test_none_is_replaced_once_it_stops(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.at(1, lambda: setattr(bench.started[1], "stops", False))
    bench.at(5, lambda: kill(bench.started[1]))
    assert bench.run(stop_s=2) == 0
    assert len(bench.started) == 2
    assert bench.clock.now == 5
    assert caplog.records == []


def test_the_end_waits_for_the_slowest_and_a_second_signal_reaches_it() -> None:
    bench = Bench()
    bench.at(1, lambda: setattr(bench.started[0], "stops", False))
    bench.at(5, lambda: setattr(bench.started[0], "stops", True))
    bench.at(6, lambda: bench.crew.signalled(signal.SIGTERM, None))
    assert bench.run(stop_s=2) == 0
    assert bench.started[0].signals == [signal.SIGTERM, signal.SIGTERM]
    assert bench.started[1].signals == [signal.SIGTERM]


def test_ctrl_c_reaches_workers_as_the_signal_that_they_always_take() -> None:
    bench = Bench()
    bench.at(1, lambda: bench.crew.signalled(signal.SIGINT, None))
    assert bench.run() == 0
    assert [one.signals for one in bench.started] == [[signal.SIGTERM]] * 2


def test_a_reload_is_passed_on_and_ends_nothing() -> None:
    bench = Bench()
    bench.at(1, lambda: bench.crew.signalled(signal.SIGHUP, None))
    assert bench.run(stop_s=3) == 0
    assert [one.signals for one in bench.started] == [[signal.SIGHUP, signal.SIGTERM]] * 2


def test_a_signal_that_comes_amid_a_start_is_not_lost() -> None:
    """Before, it was passed on in the handler: a worker just being started never got it.

    The parent then waited for ever for a worker that nobody had told to stop.
    """
    bench = Bench(1)
    start = bench._start

    def interrupted(number: int) -> AProcess:
        bench.crew.signalled(signal.SIGTERM, None)
        return start(number)

    bench.crew = Crew(interrupted, 1, bench.clock)
    assert bench.crew.run(bench._sleep) == 0
    assert bench.started[0].signals == [signal.SIGTERM]
