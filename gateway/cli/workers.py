"""Several processes on one socket: start them, replace those that die, stop them together.

Each worker is this command again, with the listening socket handed down. The kernel spreads
connections over them. One that dies is replaced, after a growing pause if it dies young; when
all of them keep dying young, serving is given up. A worker whose parent dies drains and ends.
At SIGUSR2 all are replaced, one after another.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from gateway.cli.place import Place, shared_memory
from gateway.cli.rolling import RETIRE, Roll, Running
from gateway.clock import Clock, SystemClock
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.cells import SLOT_BYTES
from gateway.telemetry.recent import ENTRY_BYTES

log = logging.getLogger(__name__)

_YOUNG_S = 5.0
_MAX_PAUSE_S = 10.0
_MAX_YOUNG_DEATHS = 4
_TICK_S = 0.1


class WorkerProcess:
    """A worker's process, and the end of a pipe in which it says that it serves."""

    def __init__(self, popen: subprocess.Popen[bytes], said: int) -> None:
        self._popen = popen
        self._said: int | None = said
        self._serves = False

    @property
    def serves(self) -> bool:
        if self._said is not None and select.select([self._said], [], [], 0)[0]:
            self._serves = bool(os.read(self._said, 1))  # else it ended before
            os.close(self._said)
            self._said = None
        return self._serves

    def poll(self) -> int | None:
        return self._popen.poll()

    def send_signal(self, number: int, /) -> None:
        self._popen.send_signal(number)


def run_workers(
    listener: socket.socket, config: Path, count: int, *, recent_requests: int = 0
) -> int:
    """Run until a signal ends it. The exit code: 0, or 1 when no worker could be kept alive.

    `recent_requests`: how many calls each worker remembers.
    """
    places = count + 1  # a worker may be replaced by another that starts beside it
    counts = shared_memory(places * SLOT_BYTES)
    stories = shared_memory(places * recent_requests * ENTRY_BYTES)
    parent, held = os.pipe()  # nobody else holds the other end: it closes when we are gone

    def start(number: int) -> Running:
        says, said = os.pipe()
        try:
            place = Place(listener.fileno(), parent, counts, stories, said, number, count)
            return WorkerProcess(_start(config, place), says)
        finally:
            os.close(said)

    crew = Crew(start, count, SystemClock())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, crew.signalled)
    try:
        return crew.run(time.sleep)
    finally:
        for file in (held, parent, counts, stories):
            os.close(file)


def _start(config: Path, place: Place) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway", "serve"]
    # one that comes before a worker can take it waits, instead of ending the worker
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, RETIRE})
    try:
        # a group of its own: a terminal's Ctrl-C reaches it once, through us
        return subprocess.Popen(  # noqa: S603  # our own command
            [*command, "--config", str(config), "--place", str(place)],
            pass_fds=place.files,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Crew:
    """`count` workers, made by `start`, which is given a worker's number."""

    def __init__(self, start: Callable[[int], Running], count: int, clock: Clock) -> None:
        self._clock = clock
        self._workers = [_Worker(number, start) for number in range(count)]
        self._roll = Roll(start, count)
        self._signals: list[int] = []
        self._is_stopping = False

    def run(self, sleep: Callable[[float], None]) -> int:
        """Until a signal has ended all workers, or none can be kept alive."""
        while True:
            self._pass_signals_on()
            is_any_alive = self._look_after_all()
            if self._is_stopping and not is_any_alive and not self._roll.outside():
                return 0
            if not self._is_stopping:
                self._roll.go_on(self._clock.now_s())
            if all(worker.young_deaths >= _MAX_YOUNG_DEATHS for worker in self._workers):
                log.error(F.WORKERS_GIVEN_UP)
                self._signals.append(signal.SIGTERM)
                self._pass_signals_on()
                return 1
            sleep(_TICK_S)

    def signalled(self, number: int, _: FrameType | None) -> None:
        """A signal handler: what it asks for is done between two ticks, not amid a start."""
        self._signals.append(number)

    def _pass_signals_on(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGUSR2:
                self._roll.begin(list(self._workers))
                continue
            if number != signal.SIGHUP:
                self._is_stopping = True
                self._roll.stop()
                number = signal.SIGTERM
            for worker in self._workers:
                worker.signal(number)
            for process in self._roll.outside():
                process.send_signal(number)

    def _look_after_all(self) -> bool:
        """Notice deaths and start who is due. Whether any worker is alive."""
        now_s = self._clock.now_s()
        for worker in self._workers:
            if not worker.is_alive():
                worker.note_death(now_s, is_expected=self._is_stopping)
                if not self._is_stopping:
                    worker.start_when_due(now_s)
        return any(worker.is_alive() for worker in self._workers)


class _Worker:
    def __init__(self, number: int, start: Callable[[int], Running]) -> None:
        self.young_deaths = 0
        self.number = number
        self.process: Running | None = None
        self._start = start
        self._started_s = 0.0
        self._due_s = 0.0

    def hand_over(self, number: int, process: Running, started_s: float) -> None:
        self.number, self.process, self._started_s = number, process, started_s

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def note_death(self, now_s: float, *, is_expected: bool) -> None:
        """Once for each death: say so, and decide when the next one starts."""
        if self.process is None:
            return
        code = self.process.poll()
        self.process = None
        if is_expected:
            return
        log.warning(F.WORKER_ENDED, extra={F.WORKER: self.number, F.REASON: _reason(code)})
        pause_s = 0.0
        if now_s - self._started_s < _YOUNG_S:
            self.young_deaths += 1
            pause_s = min(_MAX_PAUSE_S, 0.5 * 2 ** (self.young_deaths - 1))
        else:
            self.young_deaths = 0
        self._due_s = now_s + pause_s

    def start_when_due(self, now_s: float) -> None:
        if now_s >= self._due_s:
            self.process = self._start(self.number)
            self._started_s = now_s

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def _reason(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
