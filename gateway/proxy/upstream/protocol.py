"""What the proxy needs of an HTTP client, and nothing of how it is done.

Two implementations stand behind it: `pool` (httptools over asyncio transports, the one that
serves) and `reference` (httpx, the one it is tested against). Both pass one contract suite.

The body is pushed, not pulled: `deliver` hands every piece to a sink in the moment it arrives,
so that a streamed event costs no task switch. A response that was handed out must be closed
exactly once, whatever happens; closing one whose body has not ended drops the connection,
which is how an engine learns that nobody wants the answer any more.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from gateway.errors import GatewayError
from gateway.wire.http import Origin, UpstreamRequest


class BodySink(Protocol):
    """Takes a response body as it arrives. Neither method may raise or block."""

    def data(self, piece: bytes) -> None:
        """Some bytes of the decoded body, never empty."""
        ...

    def ended(self, failure: GatewayError | None) -> None:
        """The body is complete (None) or broke off. Called exactly once, unless closed first."""
        ...


class UpstreamResponse(Protocol):
    """An answer whose status and headers are here."""

    @property
    def status(self) -> int: ...

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises EngineFault when it is larger, ConnectionLost when it breaks."""
        ...

    def deliver(self, sink: BodySink) -> None:
        """Push the body into `sink` from now on. Not together with `read`."""
        ...

    def pause(self) -> None:
        """Stop reading the engine's socket, because the client is slow."""
        ...

    def resume(self) -> None: ...

    def close(self) -> None:
        """Give the connection back when the body has ended, else drop it. Idempotent."""
        ...


class Upstream(Protocol):
    """Sends requests to engines."""

    async def send(
        self,
        origin: Origin,
        request: UpstreamRequest,
        *,
        connect_s: float,
        first_byte_s: float,
        connected: Callable[[], None] | None = None,
    ) -> UpstreamResponse:
        """The answer's head. `connected` is called when the request is about to be sent.

        Raises EngineUnreachable (refused, unresolvable, TLS failed, not connected within
        `connect_s`: nothing was sent), ConnectionLost (broke before the head was complete),
        EngineSilent (no head within `first_byte_s`, which may be infinite) or EngineFault (what
        came is not HTTP, or its head is over 64 KiB). A kept-alive connection that the engine
        closed before the first byte of an answer is replaced by a fresh one, once and silently.
        Cancelling drops the connection.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close idle connections; those in use close as their responses do."""
        ...
