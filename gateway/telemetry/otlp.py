"""Spans as bytes of OTLP's protobuf messages. No I/O.

Written by hand: the SDK's span objects and encoder take some 130 us for the spans of one call,
this takes a tenth, and what waits to be sent is then bytes, whose size is known.

Source: opentelemetry-proto 1.x, trace/v1/trace.proto and common/v1/common.proto, whose field
numbers never change. Tests read what is written here with the generated classes.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Final

Value = str | bool | int | float | Sequence[str]

_double: Final = struct.Struct("<d").pack
_fixed64: Final = struct.Struct("<Q").pack
_KNOWN: Final = 4096
_VARINT_MASK: Final = (1 << 64) - 1
# the field `flags`, which says whether the parent is another process's
_FLAGS_OF_LOCAL: Final = b"\x85\x01\x00\x01\x00\x00"
_FLAGS_OF_REMOTE: Final = b"\x85\x01\x00\x03\x00\x00"


class Kind(IntEnum):
    """Who speaks to whom."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


def span(
    name: str,
    kind: Kind,
    trace: int,
    span_id: int,
    parent: int,
    start_ns: int,
    end_ns: int,
    attributes: bytes = b"",
    *,
    state: bytes = b"",
    links: Sequence[int] = (),
    failed: bool = False,
    is_root: bool = False,
) -> bytes:
    """A span of a `ScopeSpans` message. Times are nanoseconds since 1970.

    `attributes` are those of `attributes`; `links` are span ids of the same trace. `is_root`:
    our first span of the trace, whose parent, if it has one, is the caller's.
    """
    trace_id = trace.to_bytes(16, "big")
    flags = _FLAGS_OF_REMOTE if is_root and parent else _FLAGS_OF_LOCAL
    body = b"\x0a\x10%b\x12\x08%b%b%b%b\x30%b\x39%b\x41%b%b" % (
        trace_id,
        span_id.to_bytes(8, "big"),
        _sized(b"\x1a", state) if state else b"",
        b"\x22\x08" + parent.to_bytes(8, "big") if parent else b"",
        _name(name),
        _varint(kind),
        _fixed64(start_ns),
        _fixed64(max(start_ns, end_ns)),
        attributes,
    )
    for link in links:
        body += _sized(b"\x6a", b"\x0a\x10%b\x12\x08%b" % (trace_id, link.to_bytes(8, "big")))
    if failed:
        body += b"\x7a\x02\x18\x02"  # Status with the code ERROR
    return _sized(b"\x12", body + flags)


def attributes(given: Mapping[str, Value | None]) -> bytes:
    """Attributes of a span; those that are None are left out."""
    return b"".join(
        [_sized(b"\x4a", _pair(key, value)) for key, value in given.items() if value is not None]
    )


def request(resource: bytes, scope: bytes, spans: Iterable[bytes]) -> bytes:
    """An `ExportTraceServiceRequest`."""
    scope_spans = _sized(b"\x12", scope + b"".join(spans))
    return _sized(b"\x0a", resource + scope_spans)


def resource(given: Mapping[str, Value]) -> bytes:
    """Who sends: for `request`."""
    pairs = b"".join(_sized(b"\x0a", _pair(key, value)) for key, value in given.items())
    return _sized(b"\x0a", pairs)


def scope(name: str, version: str) -> bytes:
    """What made the spans: for `request`."""
    return _sized(b"\x0a", _sized(b"\x0a", name.encode()) + _sized(b"\x12", version.encode()))


@lru_cache(_KNOWN)
def _name(name: str) -> bytes:
    return _sized(b"\x2a", _utf8(name))


@lru_cache(_KNOWN)
def _key(key: str) -> bytes:
    return _sized(b"\x0a", key.encode())


def _pair(key: str, value: Value) -> bytes:
    return _key(key) + _sized(b"\x12", _any(value))


def _any(value: Value) -> bytes:
    match value:
        case str():
            return _sized(b"\x0a", _utf8(value))
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int():
            return b"\x18" + _varint(value)
        case float():
            return b"\x21" + _double(value)
        case _:
            return _sized(b"\x2a", b"".join(_sized(b"\x0a", _any(one)) for one in value))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # lone surrogates, which JSON can hold


def _sized(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    if 0 <= number < 128:
        return bytes((number,))
    number &= _VARINT_MASK  # negative ones are written as 64 bits
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
