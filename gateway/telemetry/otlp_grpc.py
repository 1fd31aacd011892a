"""OTLP over gRPC. Loaded only where it is used: gRPC takes memory and threads.

Source: OTLP specification 1.x, "OTLP/gRPC", which says what may be tried again.
"""

from pathlib import Path
from urllib.parse import urlsplit

import grpc

from gateway.telemetry.otlp_http import refused_spans
from gateway.telemetry.otlp_target import OtlpTarget
from gateway.telemetry.trace_export import SendFailed

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TEMPORARY = (
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
)


class GrpcSender:
    """A `Sender` over a gRPC channel, which connects again by itself."""

    def __init__(self, target: OtlpTarget) -> None:
        """Raises OSError when a certificate cannot be read."""
        self._target = target
        parts = urlsplit(target.url)
        host = parts.hostname or ""
        address = f"[{host}]" if ":" in host else host
        address = f"{address}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"
        compression = grpc.Compression.Gzip if target.gzip else grpc.Compression.NoCompression
        # it would wait up to two minutes between attempts to connect
        options = (("grpc.max_reconnect_backoff_ms", 5000),)
        if target.is_secure:
            self._channel = grpc.secure_channel(
                address, _credentials(target), options=options, compression=compression
            )
        else:
            self._channel = grpc.insecure_channel(address, options=options, compression=compression)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            _METHOD, None, None
        )

    def send(self, request: bytes) -> int:
        try:
            answer = self._export(
                request, timeout=self._target.timeout_s, metadata=self._target.headers
            )
        except grpc.RpcError as exc:
            code = exc.code()
            reason = code.name.lower().replace("_", " ")
            raise SendFailed(reason, 0.0 if code in _TEMPORARY else None) from exc
        return refused_spans(answer)

    def close(self) -> None:
        self._channel.close()


def _credentials(target: OtlpTarget) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _read(target.ca_file), _read(target.key_file), _read(target.certificate_file)
    )


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
