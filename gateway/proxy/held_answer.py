"""A client that keeps an answer until it is known whether it is the one that counts."""

from collections.abc import Callable

from gateway.proxy.client import Client
from gateway.wire.http import Headers


class HeldAnswer:
    """A `Client` in front of another, for answers that are not streamed."""

    def __init__(self, client: Client) -> None:
        self.is_finished = False
        self.has_started = False
        self.blocked_since_s: float | None = None
        self._client = client
        self._status = 0
        self._headers: Headers = ()
        self._body = b""

    @property
    def is_gone(self) -> bool:
        return self._client.is_gone

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.start(status, headers)
        self.write(body)
        self.finish()

    def start(self, status: int, headers: Headers) -> None:
        self.has_started = True
        self._status, self._headers = status, headers

    def write(self, piece: bytes) -> None:
        self._body += piece

    def finish(self) -> None:
        self.is_finished = True

    def abort(self) -> None:
        self._client.abort()

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Nothing that is kept is waited for."""

    def tell(self) -> None:
        """Bring the answer to the client after all."""
        self._client.respond(self._status, self._headers, self._body)
