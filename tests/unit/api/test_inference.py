import re
from typing import Any

import msgspec
import pytest

from gateway.api.endpoint import Endpoint
from gateway.api.endpoints import Endpoints
from gateway.api.inference import Head, Inference, read_head, request_id
from gateway.errors import InvalidRequest, RequestTooLarge, UnsupportedContentType
from gateway.proxy.dialect import OpenAiDialect
from gateway.wire.ask import Operation
from tests.support.fake_clock import FakeClock

MIB = 1024 * 1024


def an_inference(max_body_bytes: int = MIB) -> Inference:
    exchange: Any = None
    return Inference(exchange, Endpoints(str), FakeClock(), max_body_bytes=max_body_bytes)


def test_a_head_keeps_what_means_something() -> None:
    head = read_head(
        [
            (b"host", b"x"),
            (b"x-request-id", b"mine"),
            (b"authorization", b"Bearer k"),
            (b"content-type", b"application/json"),
            (b"content-encoding", b"gzip"),
            (b"content-length", b"12"),
            (b"traceparent", b"00-1-2-01"),
            (b"x-stainless-retry-count", b"1"),
            (b"x-request-timeout-ms", b"1500"),
            (b"expect", b"100-Continue"),
        ]
    )
    assert head == Head(
        request_id="mine",
        authorization=b"Bearer k",
        content_type=b"application/json",
        content_encoding=b"gzip",
        content_length=12,
        traceparent=b"00-1-2-01",
        sdk_retry=b"1",
        timeout_s=1.5,
        expects_continue=True,
    )


def test_of_an_empty_head_nothing_is_known_and_the_id_is_new() -> None:
    head = read_head([])
    assert head == Head(request_id=head.request_id)
    assert head.request_id.startswith("req_")


@pytest.mark.parametrize("length", [b"", b"-1", b"1.5", b"x", "²".encode()])
def test_a_length_that_is_no_number_is_unknown(length: bytes) -> None:
    assert read_head([(b"content-length", length)]).content_length is None


@pytest.mark.parametrize("given", [None, b"", b"a b", b"x" * 129, b"\xff", b"a\n"])
def test_an_id_that_is_not_sane_is_replaced(given: bytes | None) -> None:
    assert re.fullmatch(r"req_[0-9a-f]{24}", request_id(given))


def test_a_length_within_the_bound_is_welcome_and_one_above_is_not() -> None:
    inference = an_inference(MIB)
    assert inference.refusal(Head("id", content_length=MIB)) is None
    refusal = inference.refusal(Head("id", content_length=MIB + 1))
    assert isinstance(refusal, RequestTooLarge)
    assert "1 MiB" in refusal.public


@pytest.mark.parametrize("encoding", [None, b"identity"])
def test_a_body_as_it_is_is_welcome(encoding: bytes | None) -> None:
    assert an_inference().refusal(Head("id", content_encoding=encoding)) is None


@pytest.mark.parametrize(
    "head",
    [
        Head("id", content_encoding=b"gzip"),
        Head("id", content_type=b"text/plain"),
        Head("id", content_type=b"text/x+json"),
        Head("id", content_type=b""),
    ],
)
def test_what_is_not_plain_json_is_not_supported(head: Head) -> None:
    assert isinstance(an_inference().refusal(head), UnsupportedContentType)


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b" Application/JSON ; charset=utf-8", b"application/a+json"],
)
def test_json_has_several_names(content_type: bytes) -> None:
    assert an_inference().refusal(Head("id", content_type=content_type)) is None


def test_a_call_holds_what_the_endpoint_and_the_head_say() -> None:
    endpoint = Endpoint(Operation.GENERATE, OpenAiDialect(), "m")
    head = Head("id", authorization=b"Bearer k", traceparent=b"t", sdk_retry=b"2")
    head = msgspec.structs.replace(head, min_bits=8.0)
    call = an_inference().call(endpoint, head, b"{}")
    assert (call.operation, call.model, call.body) == (Operation.GENERATE, "m", b"{}")
    assert (call.request_id, call.authorization) == ("id", b"Bearer k")
    assert (call.traceparent, call.sdk_retry) == (b"t", b"2")
    assert call.min_bits == 8
    assert call.received_s == FakeClock().now_s()


@pytest.mark.parametrize("given", [b"", b"0", b"-5", b"1.5", b"1e3", b"x", b"9" * 11, "²".encode()])
def test_a_time_to_wait_that_is_none_is_refused(given: bytes) -> None:
    head = read_head([(b"x-request-timeout-ms", given)])
    refusal = an_inference().refusal(head)
    assert isinstance(refusal, InvalidRequest)
    assert "x-request-timeout-ms" in refusal.public


def test_the_longest_time_to_wait_is_ten_digits() -> None:
    head = read_head([(b"x-request-timeout-ms", b"9" * 10)])
    assert head.timeout_s == 9_999_999.999
    assert an_inference().refusal(head) is None


@pytest.mark.parametrize(
    ("given", "bits"), [(b"8", 8), (b"4.5", 4.5), (b"16", 16), (b"0.5", 0.5), (b"64", 64)]
)
def test_the_fewest_bits_that_will_do_are_read(given: bytes, bits: float) -> None:
    head = read_head([(b"x-gateway-min-bits", given)])
    assert head.min_bits == bits
    assert an_inference().refusal(head) is None


@pytest.mark.parametrize("given", [b"", b"0", b"-8", b"fp8", b"1e1", b"65", b"nan", b"8 ", b"008"])
def test_what_is_no_number_of_bits_is_refused_by_the_name_of_the_header(given: bytes) -> None:
    refusal = an_inference().refusal(read_head([(b"x-gateway-min-bits", given)]))
    assert isinstance(refusal, InvalidRequest)
    assert refusal.public.startswith("x-gateway-min-bits must be a number of bits")
    assert refusal.param == "x-gateway-min-bits"
