"""A client whose answer is kept as well: for traces with content, and to compare a shadow's."""

from collections.abc import Callable
from typing import Final

from gateway.proxy.client import Client
from gateway.wire.http import Headers

MAX_BYTES: Final = 256 * 1024


class RecordedAnswer:
    """A `Client` in front of another. `body` is what it was sent, as far as there is room.

    `is_cut`: there was more.
    """

    def __init__(self, client: Client, max_bytes: int = MAX_BYTES) -> None:
        self.body = bytearray()
        self.is_cut = False
        self._client = client
        self._max_bytes = max_bytes

    @property
    def is_gone(self) -> bool:
        return self._client.is_gone

    @property
    def has_started(self) -> bool:
        return self._client.has_started

    @property
    def is_finished(self) -> bool:
        return self._client.is_finished

    @property
    def blocked_since_s(self) -> float | None:
        return self._client.blocked_since_s

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self._keep(body)
        self._client.respond(status, headers, body)

    def start(self, status: int, headers: Headers) -> None:
        self._client.start(status, headers)

    def write(self, piece: bytes) -> None:
        self._keep(piece)
        self._client.write(piece)

    def finish(self) -> None:
        self._client.finish()

    def abort(self) -> None:
        self._client.abort()

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._client.on_pressure(pause, resume)

    def _keep(self, piece: bytes) -> None:
        room = self._max_bytes - len(self.body)
        self.body += piece[:room]
        self.is_cut = self.is_cut or len(piece) > room
