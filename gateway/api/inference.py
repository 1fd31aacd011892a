"""From a request's head and body to a call for the exchange.

Both ways in, ASGI and the direct protocol, come through here, so that they agree.
"""

import random
import re
from collections.abc import Iterable

import msgspec

from gateway.api.endpoint import Endpoint
from gateway.api.endpoints import Endpoints
from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidRequest, RequestTooLarge, UnsupportedContentType
from gateway.proxy.call import Call
from gateway.proxy.exchange import Exchange
from gateway.routing.resolve import MIN_BITS

# ids are no secrets, and the system's randomness costs a system call each time
_ids = random.Random()
TIMEOUT_MS = b"x-request-timeout-ms"
SESSION = b"x-session-id"
_BITS = re.compile(rb"\d{1,2}(\.\d{1,4})?")
_MOST_BITS = 64
_MIN_BITS = MIN_BITS.encode()
_MOST_DIGITS = 10
_SANE_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")


class Head(msgspec.Struct, frozen=True, gc=False):
    """The headers of a request that mean something to us; the rest is dropped here.

    `timeout_s`: how long the client waits, 0 where what it sent is no such time. `min_bits`: the
    fewest bits of a weight, 0 where it does not say, None where what it sent is no such number.
    """

    request_id: str
    authorization: bytes | None = None
    content_type: bytes | None = None
    content_encoding: bytes | None = None
    content_length: int | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None
    sdk_retry: bytes | None = None
    timeout_s: float | None = None
    expects_continue: bool = False
    session: bytes | None = None
    min_bits: float | None = 0.0


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """`headers` with names in lower case. The last of a repeated header counts."""
    found = dict(headers)
    length = found.get(b"content-length", b"")
    return Head(
        request_id=request_id(found.get(b"x-request-id")),
        authorization=found.get(b"authorization"),
        content_type=found.get(b"content-type"),
        content_encoding=found.get(b"content-encoding"),
        content_length=int(length) if length.isdigit() else None,
        traceparent=found.get(b"traceparent"),
        tracestate=found.get(b"tracestate"),
        sdk_retry=found.get(b"x-stainless-retry-count"),
        timeout_s=_timeout_s(found.get(TIMEOUT_MS)),
        expects_continue=found.get(b"expect", b"").lower() == b"100-continue",
        session=found.get(SESSION),
        min_bits=_bits(found.get(_MIN_BITS)),
    )


def request_id(given: bytes | None) -> str:
    """The client's own id when it is sane, else a new one."""
    if given is not None and _SANE_ID.fullmatch(given):
        return given.decode("ascii")
    return f"req_{_ids.getrandbits(96):024x}"


def _timeout_s(given: bytes | None) -> float | None:
    if given is None:
        return None
    return int(given) / 1000 if given.isdigit() and len(given) <= _MOST_DIGITS else 0.0


def _bits(given: bytes | None) -> float | None:
    if given is None:
        return 0.0
    bits = float(given) if _BITS.fullmatch(given) else 0.0
    return bits if 0 < bits <= _MOST_BITS else None


class Inference:
    """Turns requests into calls for the exchange."""

    def __init__(
        self, exchange: Exchange, endpoints: Endpoints, clock: Clock, *, max_body_bytes: int
    ) -> None:
        self.exchange = exchange
        self.endpoints = endpoints
        self.max_body_bytes = max_body_bytes
        self._clock = clock

    def refusal(self, head: Head) -> GatewayError | None:
        """What is wrong with a request already by its head."""
        if head.content_length is not None and head.content_length > self.max_body_bytes:
            return self.too_large()
        if head.content_encoding not in (None, b"identity"):
            return UnsupportedContentType("compressed request bodies are not supported")
        kind = head.content_type
        if kind is not None and not _is_json(kind):
            return UnsupportedContentType("the content-type must be application/json")
        if head.timeout_s == 0:
            return InvalidRequest(
                f"{TIMEOUT_MS.decode()} must be a whole number of milliseconds, at least 1"
            )
        if head.min_bits is None:
            return InvalidRequest(
                f"{MIN_BITS} must be a number of bits above 0, at most {_MOST_BITS}", param=MIN_BITS
            )
        return None

    def too_large(self) -> GatewayError:
        limit_mib = self.max_body_bytes / (1024 * 1024)
        return RequestTooLarge(f"the body is larger than this gateway allows ({limit_mib:g} MiB)")

    def call(self, endpoint: Endpoint, head: Head, body: bytes) -> Call:
        return Call(
            operation=endpoint.operation,
            dialect=endpoint.dialect,
            body=body,
            request_id=head.request_id,
            received_s=self._clock.now_s(),
            authorization=head.authorization,
            traceparent=head.traceparent,
            tracestate=head.tracestate,
            sdk_retry=head.sdk_retry,
            model=endpoint.model,
            timeout_s=head.timeout_s,
            session=head.session,
            min_bits=head.min_bits or 0.0,
        )


def _is_json(content_type: bytes) -> bool:
    kind = content_type.split(b";", 1)[0].strip().lower()
    return kind == b"application/json" or (
        kind.startswith(b"application/") and kind.endswith(b"+json")
    )
