"""Several processes on one socket: start them, replace those that die, stop them together.

Each worker is this command again, with the listening socket handed down. The kernel spreads
connections over them. One that dies is replaced, after a growing pause if it dies young; when
all of them keep dying young, serving is given up. A worker whose parent dies drains and ends.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Protocol

from gateway.cli.place import Place, shared_memory
from gateway.clock import Clock, SystemClock
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.cells import SLOT_BYTES
from gateway.telemetry.recent import ENTRY_BYTES

log = logging.getLogger(__name__)

_YOUNG_S = 5.0
_MAX_PAUSE_S = 10.0
_MAX_YOUNG_DEATHS = 4
_TICK_S = 0.1


class Running(Protocol):
    """A worker's process."""

    def poll(self) -> int | None: ...

    def send_signal(self, number: int, /) -> None: ...


def run_workers(
    listener: socket.socket, config: Path, count: int, *, recent_requests: int = 0
) -> int:
    """Run until a signal ends it. The exit code: 0, or 1 when no worker could be kept alive.

    `recent_requests`: how many calls each worker remembers.
    """
    counts = shared_memory(count * SLOT_BYTES)
    stories = shared_memory(count * recent_requests * ENTRY_BYTES)
    parent, held = os.pipe()  # nobody else holds the other end: it closes when we are gone

    def start(number: int) -> Running:
        return _start(config, Place(listener.fileno(), parent, counts, stories, number))

    crew = Crew(start, count, SystemClock())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, crew.signalled)
    try:
        return crew.run(time.sleep)
    finally:
        for file in (held, parent, counts, stories):
            os.close(file)


def _start(config: Path, place: Place) -> Running:
    command = [sys.executable, "-m", "gateway", "serve"]
    # a SIGHUP that comes before a worker can take it waits, instead of ending the worker
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
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
        self._signals: list[int] = []
        self._is_stopping = False

    def run(self, sleep: Callable[[float], None]) -> int:
        """Until a signal has ended all workers, or none can be kept alive."""
        while True:
            self._pass_signals_on()
            is_any_alive = self._look_after_all()
            if self._is_stopping and not is_any_alive:
                return 0
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
            if number != signal.SIGHUP:
                self._is_stopping = True
                number = signal.SIGTERM
            for worker in self._workers:
                worker.signal(number)

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
        self._number = number
        self._start = start
        self._process: Running | None = None
        self._started_s = 0.0
        self._due_s = 0.0

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def note_death(self, now_s: float, *, is_expected: bool) -> None:
        """Once for each death: say so, and decide when the next one starts."""
        if self._process is None:
            return
        code = self._process.poll()
        self._process = None
        if is_expected:
            return
        log.warning(F.WORKER_ENDED, extra={F.WORKER: self._number, F.REASON: _reason(code)})
        pause_s = 0.0
        if now_s - self._started_s < _YOUNG_S:
            self.young_deaths += 1
            pause_s = min(_MAX_PAUSE_S, 0.5 * 2 ** (self.young_deaths - 1))
        else:
            self.young_deaths = 0
        self._due_s = now_s + pause_s

    def start_when_due(self, now_s: float) -> None:
        if now_s >= self._due_s:
            self._process = self._start(self._number)
            self._started_s = now_s

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def _reason(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
