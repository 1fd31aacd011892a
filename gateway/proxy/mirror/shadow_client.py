"""The client of a shadow: nobody. It keeps the answer, up to a bound."""

from collections.abc import Callable

from gateway.wire.http import Headers


class ShadowClient:
    """A `Client`. `give_up` is called when the answer is larger than `max_bytes`."""

    def __init__(self, max_bytes: int, give_up: Callable[[], None]) -> None:
        self.body = bytearray()
        self.is_gone = False
        self.is_finished = False
        self.is_too_large = False
        self.has_started = False
        self.blocked_since_s: float | None = None
        self._max_bytes = max_bytes
        self._give_up = give_up

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.start(status, headers)
        self.write(body)
        self.finish()

    def start(self, status: int, headers: Headers) -> None:
        self.has_started = True

    def write(self, piece: bytes) -> None:
        if self.is_too_large:
            return
        if len(self.body) + len(piece) > self._max_bytes:
            self.is_too_large = True
            self.body.clear()
            self._give_up()
        else:
            self.body += piece

    def finish(self) -> None:
        self.is_finished = True

    def abort(self) -> None:
        """Nobody reads, so nobody reads too slowly."""

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Nothing that is kept is waited for."""
