"""Ask an engine over a plain socket and keep the answer exactly as it came.

Only for answers of engines we started: framing is trusted, every wait is bounded.
"""

import math
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.transcripts import Answered, Asked, Ending, Framing

PATIENCE_S = 60.0


@dataclass(slots=True)
class _Wire:
    """A socket read by lines and lengths; the end of the connection is remembered."""

    connection: socket.socket
    unread: bytearray = field(default_factory=bytearray)
    ending: Ending | None = None

    def line(self) -> bytes:
        while b"\n" not in self.unread and self._more():
            pass
        end = self.unread.find(b"\n") + 1 or len(self.unread)
        return self._take(end)

    def exactly(self, length: int) -> bytes:
        while len(self.unread) < length and self._more():
            pass
        return self._take(min(length, len(self.unread)))

    def rest(self) -> bytes:
        while self._more():
            pass
        return self._take(len(self.unread))

    def _take(self, length: int) -> bytes:
        taken = bytes(self.unread[:length])
        del self.unread[:length]
        return taken

    def _more(self) -> bool:
        if self.ending:
            return False
        try:
            received = self.connection.recv(65536)
        except ConnectionResetError:
            self.ending = "reset"
            return False
        except TimeoutError:
            self.ending = "silent"
            return False
        if not received:
            self.ending = "closed"
        self.unread += received
        return bool(received)


class OpenAnswer:
    """A request that was sent; read on with `head`, `piece` and `finish`, or `close`."""

    def __init__(self, url: str, asked: Asked, patience_s: float = PATIENCE_S) -> None:
        where = urlsplit(url)
        address = (where.hostname or "127.0.0.1", where.port or 80)
        self._connection = socket.create_connection(address, timeout=patience_s)
        self._connection.sendall(asked.wire(where.netloc))
        self._wire = _Wire(self._connection)
        self._status_line = ""
        self._headers: list[tuple[str, str]] = []
        self._framing: Framing = "none"
        self._pieces: list[bytes] = []
        self._is_complete = False

    def head(self) -> None:
        """Read the status line and headers, unless that was done."""
        if self._status_line:
            return
        self._status_line = self._wire.line().decode("latin-1").rstrip("\r\n")
        while header := self._wire.line().decode("latin-1").rstrip("\r\n"):
            name, _, value = header.partition(":")
            self._headers.append((name, value.strip()))
        known = {name.lower(): value for name, value in self._headers}
        if known.get("transfer-encoding") == "chunked":
            self._framing = "chunked"
        elif "content-length" in known:
            self._framing = "content-length"
        elif self._status_line:
            self._framing = "until-close"

    def piece(self) -> bytes | None:
        """The next chunk, or the whole body where it is not chunked; None at the end."""
        self.head()
        if self._is_complete or self._wire.ending:
            return None
        piece = self._read_piece()
        if piece:
            self._pieces.append(piece)
        return piece or None

    def _read_piece(self) -> bytes:
        match self._framing:
            case "chunked":
                return self._chunk()
            case "content-length":
                length = next(int(v) for n, v in self._headers if n.lower() == "content-length")
                piece = self._wire.exactly(length)
                self._is_complete = len(piece) == length
                return piece
            case "until-close":
                piece = self._wire.rest()
                self._is_complete = self._wire.ending == "closed"
                return piece
            case "none":
                return b""

    def _chunk(self) -> bytes:
        size = int(self._wire.line() or b"0", 16)
        if self._wire.ending:
            return b""
        piece = self._wire.exactly(size)
        self._wire.line()
        self._is_complete = size == 0 and not self._wire.ending
        return piece

    def finish(self, within_s: float = math.inf) -> Answered:
        """Read to the end and close; what goes on for longer than that is left `unfinished`."""
        give_up_at = time.monotonic() + within_s
        with closing(self._connection):
            while self.piece() is not None and time.monotonic() < give_up_at:
                pass
        if time.monotonic() >= give_up_at and not self._wire.ending and not self._is_complete:
            self._wire.ending = "unfinished"
        ending: Ending = "complete" if self._is_complete else self._wire.ending or "closed"
        if not self._status_line and ending != "silent":
            ending = "no-answer"
        return Answered(
            self._status_line, tuple(self._headers), self._framing, tuple(self._pieces), ending
        )

    def close(self) -> None:
        """Leave without reading on, as a client that loses interest does."""
        self._connection.close()


def ask(url: str, asked: Asked, patience_s: float = PATIENCE_S) -> Answered:
    return OpenAnswer(url, asked, patience_s).finish()


def ask_and_disturb(
    url: str,
    asked: Asked,
    disturb: Callable[[], None],
    after_pieces: int,
    patience_s: float = PATIENCE_S,
) -> Answered:
    """`disturb` is called once that many pieces of the body have arrived; then read on."""
    answer = OpenAnswer(url, asked, patience_s)
    for _ in range(after_pieces):
        answer.piece()
    disturb()
    return answer.finish()
