"""Workers and their parent, with processes and time that only a test has."""

import signal
from collections.abc import Callable

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
