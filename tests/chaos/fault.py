"""What a fault of an engine is: what is done, and what must come of it.

The numbers are those of a catalogue of faults: E of engines, C of clients, R of Redis, P of the
gateway's process.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.support.scripted_server import Peer, chunk


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine would have said."""

    status: int
    kind: bytes
    body: bytes

    @property
    def events(self) -> list[bytes]:
        """Of a stream: its events, blank lines included."""
        return [event + b"\n\n" for event in self.body.split(b"\n\n") if event]

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body)

    def head(self, *headers: bytes, status: bytes = b"200 OK", kind: bytes | None = None) -> bytes:
        """Status line and headers, the framing ones excepted, which are `headers`."""
        lines = (b"content-type: " + (self.kind if kind is None else kind), *headers)
        return b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"

    @property
    def chunked(self) -> bytes:
        """The head of a body that is sent in chunks."""
        return self.head(b"transfer-encoding: chunked")

    @property
    def sized(self) -> bytes:
        """The head of a body whose length is told."""
        return self.head(b"content-length: %d" % self.length)


Play = Callable[[Peer, Answer], Awaitable[None]]
# an address at which nobody can be reached, and the file of the authority for its certificate
Place = Callable[[], AbstractAsyncContextManager[tuple[str, str | None]]]


class Ends(StrEnum):
    """What a call comes to that meets the fault."""

    ANSWERED = "the answer, as if nothing were"
    HIDDEN = "before content: another replica answers, else a true status"
    RESUMED = "after content: another replica goes on, else an error event"
    REFUSED = "the engine's own 4xx"
    TOLD = "a true status: no other replica is asked"
    AVOIDED = "probes have seen it: the replica is not asked while there is another"


@dataclass(frozen=True, slots=True)
class EngineFault:
    """One thing that an engine, or the way to it, does wrong.

    `code`: what the failed try is called in metrics and logs; `status`: what the client gets
    where nobody else can answer. `of`: whether the call is streamed, or not, or either.
    `play` is what the engine does instead of answering; `at` is where it is, if nowhere.
    `is_large`: it takes the gateway much memory for a moment.
    """

    number: str
    name: str
    ends: Ends
    play: Play | None = None
    code: str = ""
    status: int = 502
    of: tuple[str, ...] = ("stream", "whole")
    at: Place | None = None
    timeouts: Mapping[str, float] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    is_large: bool = False


def told(*pieces: bytes) -> bytes:
    """Pieces of a body, each in a chunk of its own."""
    return b"".join(map(chunk, pieces))
