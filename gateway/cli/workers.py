"""Several processes on one socket: start them, replace those that die, stop them together.

Each worker is this command again, with the listening socket handed down. The kernel spreads
connections over them. One that dies is replaced, after a growing pause if it dies young.
"""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_YOUNG_S = 5.0
_MAX_PAUSE_S = 10.0
_TICK_S = 0.1


def run_workers(listener: socket.socket, config: Path, count: int) -> int:
    """Run until a signal ends it. The exit code: 0, or 1 when no worker could be kept alive."""
    crew = _Crew(listener, config, count)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, crew.signalled)
    return crew.run()


class _Crew:
    def __init__(self, listener: socket.socket, config: Path, count: int) -> None:
        self._fd = listener.fileno()
        self._config = config
        self._workers: list[_Worker] = [_Worker() for _ in range(count)]
        self._is_stopping = False

    def run(self) -> int:
        while True:
            now_s = time.monotonic()  # noqa: TID251  # a process of its own, outside any loop
            for worker in self._workers:
                if not worker.is_alive() and not self._is_stopping:
                    worker.start_when_due(self._command(), self._fd, now_s)
            if self._is_stopping and not any(worker.is_alive() for worker in self._workers):
                return 0
            time.sleep(_TICK_S)

    def signalled(self, number: int, _: FrameType | None) -> None:
        """Pass the signal on; SIGTERM and SIGINT also end this process when all are gone."""
        if number != signal.SIGHUP:
            self._is_stopping = True
        for worker in self._workers:
            worker.signal(number)

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "gateway", "serve"]
        return [*command, "--config", str(self._config), "--fd", str(self._fd)]


class _Worker:
    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._pause_s = 0.0
        self._due_s = 0.0

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start_when_due(self, command: list[str], fd: int, now_s: float) -> None:
        if self._process is not None:
            self._process = None
            is_young = now_s - self._started_s < _YOUNG_S
            self._pause_s = min(_MAX_PAUSE_S, self._pause_s * 2 + 0.5) if is_young else 0.0
            self._due_s = now_s + self._pause_s
        if now_s < self._due_s:
            return
        # a group of its own: a terminal's Ctrl-C reaches it once, through us
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            command, pass_fds=(fd,), start_new_session=True
        )
        self._started_s = now_s

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
