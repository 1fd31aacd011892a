from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.telemetry import otlp
from gateway.telemetry.otlp import Kind, Value
from tests.support.otlp_receiver import attributes_of

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
ids = st.integers(1, 2**64 - 1)
times = st.integers(0, 2**64 - 1)
values: st.SearchStrategy[Any] = st.one_of(
    st.text(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(), max_size=4),
)


def read(*spans: bytes) -> list[Span]:
    """What the generated classes make of it."""
    request = otlp.request(otlp.resource({"service.name": "s"}), otlp.scope("lib", "1"), spans)
    (resource_spans,) = ExportTraceServiceRequest.FromString(request).resource_spans
    assert attributes_of(resource_spans.resource.attributes) == {"service.name": "s"}
    (scope_spans,) = resource_spans.scope_spans
    assert (scope_spans.scope.name, scope_spans.scope.version) == ("lib", "1")
    return list(scope_spans.spans)


@given(
    name=st.text(),
    kind=st.sampled_from(Kind),
    trace=st.integers(1, 2**128 - 1),
    span_id=ids,
    parent=ids,
    start=times,
    end=times,
    links=st.lists(ids, max_size=3),
    failed=st.booleans(),
)
def test_a_span_is_read_as_it_was_written(
    name: str,
    kind: Kind,
    trace: int,
    span_id: int,
    parent: int,
    start: int,
    end: int,
    links: list[int],
    failed: bool,
) -> None:
    written = otlp.span(
        name, kind, trace, span_id, parent, start, end, state=b"a=1", links=links, failed=failed
    )
    (span,) = read(written)
    assert span.name == name
    assert int(span.kind) == int(kind)
    assert span.trace_id == trace.to_bytes(16, "big")
    assert span.span_id == span_id.to_bytes(8, "big")
    assert span.parent_span_id == parent.to_bytes(8, "big")
    assert span.start_time_unix_nano == start
    assert span.end_time_unix_nano == max(start, end)
    assert span.trace_state == "a=1"
    assert [int.from_bytes(link.span_id, "big") for link in span.links] == links
    assert all(link.trace_id == span.trace_id for link in span.links)
    assert (span.status.code == span.status.STATUS_CODE_ERROR) is failed


@given(st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=6))
def test_attributes_of_every_kind_are_read_as_they_were_written(found: dict[str, Value]) -> None:
    (span,) = read(otlp.span("s", Kind.CLIENT, TRACE, 1, 0, 1, 2, otlp.attributes(found)))
    read_back = attributes_of(span.attributes)
    assert read_back == found
    assert {k: type(v) for k, v in read_back.items()} == {k: type(v) for k, v in found.items()}


def test_what_is_unknown_is_left_out() -> None:
    assert otlp.attributes({"a": None, "b": None}) == b""


def test_half_a_character_does_not_stop_a_span() -> None:
    (span,) = read(otlp.span("a\ud800", Kind.CLIENT, TRACE, 1, 0, 1, 2))
    assert span.name == "a?"


@pytest.mark.parametrize(("is_root", "flags"), [(True, 0x300), (False, 0x100)])
def test_only_a_callers_span_is_a_parent_from_elsewhere(is_root: bool, flags: int) -> None:
    (span,) = read(otlp.span("s", Kind.SERVER, TRACE, 1, 7, 1, 2, is_root=is_root))
    assert span.flags == flags


def test_a_span_without_a_parent_names_none() -> None:
    (span,) = read(otlp.span("s", Kind.SERVER, TRACE, 1, 0, 1, 2, is_root=True))
    assert span.parent_span_id == b""
    assert span.flags == 0x100


def test_many_spans_travel_together() -> None:
    one = otlp.span("s" * 300, Kind.INTERNAL, TRACE, 1, 2, 3, 4)
    assert len(read(*[one] * 200)) == 200
