"""OTLP over HTTP, with protobuf bodies.

Source: OTLP specification 1.x, "OTLP/HTTP": 429, 502, 503 and 504 may be tried again.
"""

import gzip
import ssl

import httpx
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from gateway.telemetry.otlp_target import OtlpTarget
from gateway.telemetry.trace_export import SendFailed

_TEMPORARY = (429, 502, 503, 504)
_MAX_GZIP_LEVEL = 6


class HttpSender:
    """A `Sender` over httpx."""

    def __init__(self, target: OtlpTarget) -> None:
        """Raises OSError when a certificate cannot be read."""
        self._target = target
        headers = {"content-type": "application/x-protobuf", **dict(target.headers)}
        if target.gzip:
            headers["content-encoding"] = "gzip"
        self._client = httpx.Client(
            headers=headers, timeout=target.timeout_s, verify=_trust(target)
        )

    def send(self, request: bytes) -> int:
        body = gzip.compress(request, _MAX_GZIP_LEVEL) if self._target.gzip else request
        try:
            answer = self._client.post(self._target.url, content=body)
        except httpx.TimeoutException as exc:
            raise SendFailed("timeout", 0.0) from exc
        except httpx.HTTPError as exc:
            raise SendFailed("unreachable", 0.0) from exc
        if answer.is_success:
            return refused_spans(answer.content)
        reason = f"status {answer.status_code}"
        if answer.status_code not in _TEMPORARY:
            raise SendFailed(reason)
        after = answer.headers.get("retry-after", "")
        raise SendFailed(reason, float(after) if after.isdecimal() else 0.0)

    def close(self) -> None:
        self._client.close()


def refused_spans(answer: bytes) -> int:
    """How many spans a collector says it did not take, in an `ExportTraceServiceResponse`."""
    try:
        return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except DecodeError:
        return 0  # a 200 is a 200, whatever stands in its body


def _trust(target: OtlpTarget) -> ssl.SSLContext | bool:
    if not target.is_secure:
        return True
    context = ssl.create_default_context(cafile=target.ca_file)
    if target.certificate_file is not None:
        context.load_cert_chain(target.certificate_file, target.key_file)
    return context
