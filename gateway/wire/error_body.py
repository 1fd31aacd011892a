"""OpenAI's error body, and what the SDKs read beside it."""

import math

import msgspec

from gateway.errors import ClientGone, GatewayError


class _Error(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _Body(msgspec.Struct):
    error: _Error


def error_body(error: GatewayError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}` as JSON."""
    return msgspec.json.encode(_Body(_Error(error.public, error.type, error.param, error.code)))


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """Retry advice: both spellings of the wait, on answers that the SDKs try again.

    Source: the Python and Node SDKs read `retry-after-ms` first and honour `x-should-retry`.
    """
    headers = list(error.headers)
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    if error.status not in (429, 503) or isinstance(error, ClientGone):
        return headers
    if error.should_retry is not False:
        wait_s = 1.0 if error.retry_after_s is None else error.retry_after_s
        wait_ms = max(1, math.ceil(wait_s * 1000))
        headers += [
            (b"retry-after", str(-(-wait_ms // 1000)).encode()),
            (b"retry-after-ms", str(wait_ms).encode()),
        ]
    return headers
