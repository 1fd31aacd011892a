"""A `Client` that keeps what was written to it."""

from collections.abc import Callable

from gateway.wire.http import Headers


class FakeClient:
    """Set `is_gone` and call `block`/`unblock` to play the client's part."""

    def __init__(self) -> None:
        self.is_gone = False
        self.has_started = False
        self.blocked_since_s: float | None = None
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.writes: list[bytes] = []
        self.is_finished = False
        self.is_aborted = False
        self._pause: Callable[[], None] = lambda: None
        self._resume: Callable[[], None] = lambda: None

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.start(status, headers)
        self.write(body)
        self.finish()

    def start(self, status: int, headers: Headers) -> None:
        assert not self.has_started
        self.has_started, self.status, self.headers = True, status, dict(headers)

    def write(self, piece: bytes) -> None:
        assert self.has_started
        assert not self.is_finished
        self.writes.append(piece)
        self.body += piece

    def finish(self) -> None:
        assert not self.is_finished
        self.is_finished = True

    def abort(self) -> None:
        self.is_gone = self.is_aborted = True

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause, self._resume = pause, resume

    def block(self, now_s: float) -> None:
        self.blocked_since_s = now_s
        self._pause()

    def unblock(self) -> None:
        self.blocked_since_s = None
        self._resume()
