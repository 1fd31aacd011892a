"""The process between the gateway and one engine; a program of its own, with nothing but Python's.

It starts the engine in a session of its own, keeps what the engine says in a file of bounded
size, and sees to it that nothing of the engine outlives the gateway, however that ends: the pipe
on its standard input closes when the gateway is gone, even by `kill -9`. Then, or at SIGTERM, the
engine gets SIGTERM and so many seconds, and after them, or at a second SIGTERM, SIGKILL. What an
engine leaves behind (vLLM's engine core outlives its server) is killed as well: on Linux orphans
come to this process, elsewhere its process group is all that is known.

Its exit code is the engine's, 128 and the number for a signal, 127 when there was nothing to
start: `python keeper.py LOG MAX_BYTES GRACE_S PROGRAM WORD...`
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

GATEWAY = 0  # standard input
NOT_STARTED = 127
_SIGNALLED = 128
_PIECE_BYTES = 1 << 16
_LAST_WORDS_S = 1.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_MAX_SWEEPS = 200


class BoundedLog:
    """A file of at most `max_bytes`, and the one before it as NAME.1.

    Writing never raises: an engine must not die of a full disk.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._bytes = os.fstat(self._file).st_size

    def write(self, said: bytes) -> None:
        """Append, into a new file when this one is full."""
        with suppress(OSError):
            if self._bytes + len(said) > self._max_bytes:
                os.close(self._file)
                self._path.replace(f"{self._path}.1")
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                self._bytes = 0
            self._bytes += os.write(self._file, said)


def keep(command: Sequence[str], log: BoundedLog, grace_s: float) -> int:
    """Run the engine to its end. The exit code."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def die_with_keeper() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    woken = _signals(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    try:
        engine = subprocess.Popen(  # noqa: S603  # what the operator wrote
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_keeper,  # noqa: PLW1509  # there are no threads here
        )
    except OSError as failed:
        log.write(f"cannot start {command[0]}: {failed.strerror}\n".encode())
        return NOT_STARTED
    return _Keeping(engine, log, woken, grace_s).until_ended()


def _signals(*numbers: int) -> int:
    """A pipe from which the numbers of signals are read."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return woken


class _Keeping:
    def __init__(
        self, engine: "subprocess.Popen[bytes]", log: BoundedLog, woken: int, grace_s: float
    ) -> None:
        assert engine.stdout is not None  # noqa: S101  # it is a pipe
        self._pid = engine.pid
        self._engine = engine
        self._output = engine.stdout.fileno()
        self._log = log
        self._woken = woken
        self._grace_s = grace_s
        self._is_stopping = False
        self._code: int | None = None

    def until_ended(self) -> int:
        with selectors.DefaultSelector() as waiting:
            for file in (self._output, GATEWAY, self._woken):
                waiting.register(file, selectors.EVENT_READ)
            while self._code is None:
                for key, _ in waiting.select():
                    if not self._is_open(key.fd):
                        waiting.unregister(key.fd)
        _sweep(self._pid)
        self._last_words()
        self._engine.returncode = self._code
        return self._code

    def _is_open(self, file: int) -> bool:
        """Take what one of the three pipes brings; False when it was the last of it."""
        with suppress(BlockingIOError):
            said = os.read(file, _PIECE_BYTES)
            if file == self._output:
                self._log.write(said)
            elif file == self._woken:
                self._signalled(said)
            elif not said:
                self._stop()  # the gateway is gone
            return bool(said)
        return True

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGALRM:
                _kill_group(self._pid)
        self._code = _reaped(self._pid)

    def _stop(self) -> None:
        is_second = self._is_stopping
        self._is_stopping = True
        if is_second or self._grace_s <= 0:
            _kill_group(self._pid)
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)  # it tells its children itself, in its own order
        signal.setitimer(signal.ITIMER_REAL, self._grace_s)

    def _last_words(self) -> None:
        """What is still in the pipe; whoever may hold it open is not waited for."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._output, selectors.EVENT_READ)
            while waiting.select(_LAST_WORDS_S):
                said = os.read(self._output, _PIECE_BYTES)
                if not said:
                    return
                self._log.write(said)


def _reaped(engine: int) -> int | None:
    """Collect whoever has ended, orphans too. The engine's exit code, None while it lives."""
    code = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == engine:
                ended = os.waitstatus_to_exitcode(status)
                code = ended if ended >= 0 else _SIGNALLED - ended
    return code


def _sweep(engine: int) -> None:
    """Kill what the engine has left: its group, and every orphan that came to us."""
    _kill_group(engine)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(_MAX_SWEEPS):
        left = children.read_text().split() if children.exists() else []
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)  # its own children come to us in turn


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Run the program."""
    path, max_bytes, grace_s, *command = arguments
    return keep(command, BoundedLog(Path(path), int(max_bytes)), float(grace_s))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
