"""Who starts, replaces and ends workers, with processes and time that only a test has."""

import signal
from collections.abc import Callable

import pytest

from gateway.cli.workers import Crew
from tests.support.fake_clock import FakeClock


class AProcess:
    """A worker that lives until it is told."""

    def __init__(self, number: int, started_s: float) -> None:
        self.number = number
        self.started_s = started_s
        self.code: int | None = None
        self.signals: list[int] = []
        self.stops = True
        self.serves = True

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, number: int, /) -> None:
        self.signals.append(number)
        if number in (signal.SIGTERM, signal.SIGKILL) and self.stops:
            self.code = 0


class Bench:
    """A crew, every process it has started, and a script by time."""

    def __init__(self, count: int = 2) -> None:
        self.clock = FakeClock(0.0)
        self.started: list[AProcess] = []
        self.crew = Crew(self._start, count, self.clock)
        self.die_at_once = False
        self._script: list[tuple[float, Callable[[], object]]] = []

    def at(self, when_s: float, do: Callable[[], object]) -> None:
        self._script.append((when_s, do))

    def run(self, stop_s: float = 60.0) -> int:
        """Until the crew ends; SIGTERM comes at `stop_s`."""
        self.at(stop_s, lambda: self.crew.signalled(signal.SIGTERM, None))
        return self.crew.run(self._sleep)

    def starts_of(self, number: int) -> list[float]:
        return [round(one.started_s, 1) for one in self.started if one.number == number]

    def _start(self, number: int) -> AProcess:
        process = AProcess(number, self.clock.now)
        if self.die_at_once:
            process.code = 2
        self.started.append(process)
        return process

    def _sleep(self, seconds: float) -> None:
        self.clock.now = round(self.clock.now + seconds, 3)
        due = [do for when_s, do in self._script if when_s <= self.clock.now]
        self._script = [(when_s, do) for when_s, do in self._script if when_s > self.clock.now]
        for do in due:
            do()


def kill(process: AProcess, code: int = -9) -> None:
    process.code = code


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


def rolling(*, count: int = 2) -> Bench:
    """A crew that is asked to replace all its workers at 10 s."""
    bench = Bench(count)
    bench.at(10, lambda: bench.crew.signalled(signal.SIGUSR2, None))
    return bench


def retire(bench: Bench, which: int) -> None:
    assert bench.started[which].signals == [signal.SIGUSR2]
    bench.started[which].code = 0


def test_workers_are_replaced_one_after_another_each_by_one_that_serves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    bench = rolling()
    bench.at(20, lambda: retire(bench, 0))
    bench.at(30, lambda: retire(bench, 1))
    assert bench.run() == 0
    assert [one.number for one in bench.started] == [0, 1, 2, 0]
    assert [one.started_s for one in bench.started] == [0, 0, 10, pytest.approx(20, abs=0.3)]
    assert [one.signals for one in bench.started[2:]] == [[signal.SIGTERM]] * 2
    assert [record.getMessage() for record in caplog.records] == ["workers_replaced"]


def test_nobody_retires_before_another_serves() -> None:
    bench = rolling()
    bench.at(10.1, lambda: setattr(bench.started[2], "serves", False))
    bench.at(15, lambda: setattr(bench.started[2], "serves", True))
    retired_at: list[float] = []
    bench.at(14.9, lambda: retired_at.append(len(bench.started[0].signals)))
    assert bench.run() == 0
    assert retired_at == [0]
    assert bench.started[0].signals == [signal.SIGUSR2, signal.SIGTERM]


@pytest.mark.parametrize("dies", [True, False])
def test_when_a_replacement_does_not_come_to_serve_the_others_stay(
    dies: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench = rolling()
    start = bench._start

    def never_serves(number: int) -> AProcess:
        process = start(number)
        process.serves = number < 2
        if dies and number == 2:
            process.code = 2
        return process

    bench.crew = Crew(never_serves, 2, bench.clock)
    assert bench.run(stop_s=90) == 0
    assert [one.number for one in bench.started] == [0, 1, 2]
    assert bench.started[2].signals == ([] if dies else [signal.SIGKILL])
    assert [one.signals for one in bench.started[:2]] == [[signal.SIGTERM]] * 2
    assert [record.getMessage() for record in caplog.records] == ["workers_not_replaced"]


@pytest.mark.parametrize("serves", [True, False])
def test_a_signal_amid_a_change_ends_everybody(serves: bool) -> None:
    bench = rolling()
    bench.at(10.1, lambda: setattr(bench.started[2], "serves", serves))
    bench.at(11, lambda: bench.crew.signalled(signal.SIGTERM, None))
    assert bench.run() == 0
    assert len(bench.started) == 3
    assert all(signal.SIGTERM in one.signals for one in bench.started)


def test_a_worker_that_dies_meanwhile_is_replaced_once() -> None:
    bench = rolling()
    bench.at(12, lambda: kill(bench.started[1]))
    bench.at(13, lambda: retire(bench, 0))
    bench.at(20, lambda: retire(bench, 3))
    assert bench.run() == 0
    assert [one.number for one in bench.started] == [0, 1, 2, 1, 0]
