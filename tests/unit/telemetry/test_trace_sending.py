import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.telemetry import otlp
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.otlp import Kind
from gateway.telemetry.otlp_target import OtlpProtocol, OtlpTarget
from gateway.telemetry.trace_export import SpanCounts
from gateway.telemetry.trace_sending import open_export
from tests.support.otlp_receiver import Receiver, grpc_receiver, http_receiver

SPAN = otlp.span("s", Kind.CLIENT, 1, 2, 0, 3, 4)


def sent(receiver: Receiver) -> None:
    protocol = OtlpProtocol(receiver.protocol)
    path = "/v1/traces" if protocol is OtlpProtocol.HTTP else ""
    counts = SpanCounts(*(Metrics().spans.cell(one) for one in ("sent", "failed", "dropped")))
    export = open_export(OtlpTarget(receiver.url + path, protocol), "1.2.3", counts)
    export.add(SPAN, 1)
    export.start()
    export.close()
    assert counts.sent.value == 1


@pytest.mark.parametrize("a_receiver", [http_receiver, grpc_receiver])
def test_spans_arrive_and_name_their_service(a_receiver: type[Receiver]) -> None:
    with a_receiver() as receiver:  # type: ignore[call-arg,attr-defined]  # a function
        sent(receiver)
    (seen,) = receiver.spans
    assert seen.resource["service.name"] == "sluicegate"
    assert seen.resource["service.version"] == "1.2.3"
    assert seen.resource["service.instance.id"]


def test_opentelemetrys_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-gateway")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    with http_receiver() as receiver:
        sent(receiver)
    (seen,) = receiver.spans
    assert seen.resource["service.name"] == "my-gateway"
    assert seen.resource["deployment.environment.name"] == "prod"
    assert ExportTraceServiceRequest.FromString(receiver.raw).resource_spans
