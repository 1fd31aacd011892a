"""What a client sent, as far as the proxy cares: bytes and a few facts from the head."""

import msgspec

from gateway.proxy.dialect import Dialect
from gateway.wire.ask import Operation


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request. `model` None: the body names it. `received_s` is on the gateway's clock.

    `timeout_s`: how long the client says it waits, None: it does not say. `session`: its header's
    name for what belongs together. `min_bits`: the fewest bits of a weight that
    will do; 0: any.
    """

    operation: Operation
    dialect: Dialect
    body: bytes
    request_id: str
    received_s: float
    authorization: bytes | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None
    sdk_retry: bytes | None = None
    model: str | None = None
    timeout_s: float | None = None
    session: bytes | None = None
    min_bits: float = 0.0
