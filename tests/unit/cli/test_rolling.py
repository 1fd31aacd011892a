"""Who replaces whom, and when, with processes and time that only a test has."""

import signal

import pytest

from gateway.cli.workers import Crew
from tests.support.crews import AProcess, Bench, kill


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
