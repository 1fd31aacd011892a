"""Open the way to a collector. Loaded only where there is one, for the SDK that it needs.

Source: OpenTelemetry semantic conventions, resource attributes of a service.
"""

import importlib
import uuid
from collections.abc import Callable, Mapping
from typing import cast

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from gateway.telemetry import otlp
from gateway.telemetry.otlp_http import HttpSender
from gateway.telemetry.otlp_target import OtlpProtocol, OtlpTarget
from gateway.telemetry.trace_export import Sender, SpanCounts, TraceExport

_NAME = "sluicegate"


def open_export(target: OtlpTarget, version: str, counts: SpanCounts) -> TraceExport:
    """The export to this collector, not yet started. `version` is the gateway's own."""
    given = Resource(
        {
            "service.name": _NAME,
            "service.version": version,
            "service.instance.id": str(uuid.uuid4()),
        }
    )
    # what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins
    attributes = given.merge(OTELResourceDetector().detect()).attributes
    resource = otlp.resource(cast("Mapping[str, otlp.Value]", attributes))
    return TraceExport(_opener(target), (resource, otlp.scope(_NAME, version)), counts)


def _opener(target: OtlpTarget) -> Callable[[], Sender]:
    def open_sender() -> Sender:
        if target.protocol is OtlpProtocol.HTTP:
            return HttpSender(target)
        module = importlib.import_module("gateway.telemetry.otlp_grpc")
        return cast("Sender", module.GrpcSender(target))

    return open_sender
