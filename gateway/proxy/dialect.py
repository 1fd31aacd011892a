"""How an API speaks to its client: OpenAI's own, the plain endpoints, or TGI's.

A dialect reads the body of a call and words what comes back. The engines' answers reach it in
OpenAI's form (or TGI's, for TGI's own API), so only the last step differs.
"""

from typing import Protocol

from gateway.errors import GatewayError
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.error_body import error_body
from gateway.wire.sse import data_event


class Dialect(Protocol):
    """The words of one API. `is_verbatim`: events are shown as the engines' adapters leave them."""

    is_verbatim: bool

    def ask(self, body: bytes, operation: Operation, model: str | None) -> Ask:
        """Raises InvalidRequest."""
        ...

    def answer(self, body: bytes) -> bytes:
        """A whole answer."""
        ...

    def event(self, event: bytes) -> bytes | None:
        """One event of a streamed answer; None when this client gets nothing of it."""
        ...

    def status(self, error: GatewayError) -> int:
        """The status of an error answer."""
        ...

    def error(self, error: GatewayError) -> bytes:
        """The body of an error answer."""
        ...

    def error_event(self, error: GatewayError) -> bytes:
        """The event that ends a stream which cannot go on."""
        ...


class OpenAiDialect:
    """OpenAI's API: nothing has to be said otherwise."""

    is_verbatim = True

    def ask(self, body: bytes, operation: Operation, model: str | None) -> Ask:
        return read_ask(body, operation, model=model)

    def answer(self, body: bytes) -> bytes:
        return body

    def event(self, event: bytes) -> bytes | None:
        return event

    def status(self, error: GatewayError) -> int:
        return error.status

    def error(self, error: GatewayError) -> bytes:
        return error_body(error)

    def error_event(self, error: GatewayError) -> bytes:
        return data_event(error_body(error))
