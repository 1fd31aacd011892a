"""A collector in this process: real OTLP over gRPC and over HTTP, read by the generated classes."""

import gzip
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typing_extensions import override

from tests.support.running import until


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pair: KeyValue
    for pair in pairs:
        assert pair.key not in found, f"{pair.key} is there twice"
        found[pair.key] = value_of(pair.value)
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """A span that has arrived."""

    span: Span
    resource: dict[str, Any]
    scope: str

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes_of(self.span.attributes)

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def took_ms(self) -> float:
        return (self.span.end_time_unix_nano - self.span.start_time_unix_nano) / 1e6


@dataclass(slots=True)
class Receiver:
    """What has arrived. `failures` are answered first, one after the other.

    A failure is an HTTP status, or gRPC's.
    """

    protocol: str
    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    failures: list[Any] = field(default_factory=list)
    refused: int = 0
    raw: bytes = b""

    def take(self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse:
        self.raw += request.SerializeToString()
        for resource_spans in request.resource_spans:
            resource = attributes_of(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self.spans.append(Seen(span, resource, scope_spans.scope.name))
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.refused
        return answer

    async def has(self, count: int, within_s: float = 10.0) -> list[Seen]:
        """Wait until this many spans have come."""
        try:
            await until(lambda: len(self.spans) >= count, within_s)
        except TimeoutError as exc:
            names = [one.name for one in self.spans]
            raise AssertionError(f"waited for {count} spans, got {names}") from exc
        return self.spans

    def named(self, name: str) -> Seen:
        (found,) = (one for one in self.spans if one.name == name)
        return found

    def of_kind(self, kind: str) -> list[Seen]:
        number = Span.SpanKind.Value(f"SPAN_KIND_{kind.upper()}")
        return [one for one in self.spans if one.span.kind == number]

    def children(self, parent: Seen) -> list[Seen]:
        return [one for one in self.spans if one.parent == parent.span_id]


class _Service(service.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @override
    def Export(self, request: ExportTraceServiceRequest, context: Any) -> Any:
        receiver = self._receiver
        receiver.headers.append({one.key: one.value for one in context.invocation_metadata()})
        if receiver.failures:
            context.abort(receiver.failures.pop(0), "not now")
        return receiver.take(request)


@contextmanager
def grpc_receiver(credentials: grpc.ServerCredentials | None = None) -> Iterator[Receiver]:
    """`credentials`: with TLS, under the name localhost."""
    receiver = Receiver("grpc")
    server = grpc.server(ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(_Service(receiver), server)  # type: ignore[no-untyped-call]  # generated
    if credentials is None:
        receiver.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        port = server.add_secure_port("localhost:0", credentials)
        receiver.url = f"https://localhost:{port}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait(5)


@contextmanager
def http_receiver(trust: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """`trust`: with TLS, under the name localhost."""
    receiver = Receiver("http/protobuf")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.headers.append(
                {k.lower(): v for k, v in self.headers.items()} | {":path": self.path}
            )
            if receiver.failures:
                self._answer(receiver.failures.pop(0), b"")
                return
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            taken = receiver.take(ExportTraceServiceRequest.FromString(body))
            self._answer(200, taken.SerializeToString())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme, host = "http", "127.0.0.1"
    if trust is not None:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
        scheme, host = "https", "localhost"
    receiver.url = f"{scheme}://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
