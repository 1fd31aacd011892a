"""What the proxy sees of the client: a place to write an answer, and whether it is still there.

Writing never waits. A client that reads slowly makes `is_blocked` true, and the parts that
feed it stop their engines from sending (`on_pressure`); so at most one read of an engine is
buffered above the bound.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.wire.http import Headers


class Client(Protocol):
    """One answer to one request. After `respond` or `finish` nothing may be written."""

    @property
    def is_gone(self) -> bool:
        """The client has closed its connection."""
        ...

    @property
    def has_started(self) -> bool:
        """The status line is out and cannot be taken back."""
        ...

    @property
    def is_finished(self) -> bool:
        """The answer is whole, whether it has been sent yet or not."""
        ...

    @property
    def blocked_since_s(self) -> float | None:
        """Since when the client has not been reading what is ready for it; None: it reads."""
        ...

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer."""
        ...

    def start(self, status: int, headers: Headers) -> None:
        """The head of an answer whose body follows in pieces."""
        ...

    def write(self, piece: bytes) -> None:
        """A piece of the body. Nothing happens when the client is gone."""
        ...

    def finish(self) -> None:
        """The body is complete."""
        ...

    def abort(self) -> None:
        """Close the connection in the middle, so that the client notices."""
        ...

    def on_pressure(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Call `pause` when the client is slow and `resume` when it has caught up."""
        ...
