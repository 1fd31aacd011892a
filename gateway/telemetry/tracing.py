"""The seam for tracing: what the exchange tells about a request while it runs.

Nothing is recorded yet but the W3C trace id, which goes into the log line and on to the engine.

Source: W3C Trace Context, `traceparent`.
"""

import re

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def trace_id(traceparent: bytes | None) -> str | None:
    """The trace id of a valid `traceparent`, else None."""
    if traceparent is None:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    return match[1].decode() if match and match[1].strip(b"0") else None
