import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.telemetry import otlp
from gateway.telemetry.otlp import Kind
from gateway.telemetry.otlp_http import HttpSender, refused_spans
from gateway.telemetry.otlp_target import OtlpProtocol, OtlpTarget
from gateway.telemetry.trace_export import SendFailed
from tests.support.otlp_receiver import http_receiver
from tests.support.ports import free_port

REQUEST = otlp.request(b"", b"", [otlp.span("s" * 500, Kind.CLIENT, 1, 2, 0, 3, 4)])


def a_target(url: str, **more: Any) -> OtlpTarget:
    return OtlpTarget(url + "/v1/traces", OtlpProtocol.HTTP, timeout_s=5, **more)


def send(target: OtlpTarget) -> int:
    sender = HttpSender(target)
    try:
        return sender.send(REQUEST)
    finally:
        sender.close()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_batch_arrives_with_its_headers(compressed: bool) -> None:
    with http_receiver() as receiver:
        assert send(a_target(receiver.url, headers=(("x-key", "k"),), gzip=compressed)) == 0
    assert [one.name for one in receiver.spans] == ["s" * 500]
    (headers,) = receiver.headers
    assert headers["x-key"] == "k"
    assert headers[":path"] == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert (int(headers["content-length"]) < len(REQUEST)) is compressed


def test_what_is_refused_of_a_batch_is_counted() -> None:
    with http_receiver() as receiver:
        receiver.refused = 3
        assert send(a_target(receiver.url)) == 3


@pytest.mark.parametrize(
    ("status", "retry_after_s"), [(400, None), (401, None), (429, 0.0), (503, 0.0), (500, None)]
)
def test_only_some_refusals_may_be_tried_again(status: int, retry_after_s: float | None) -> None:
    with http_receiver() as receiver:
        receiver.failures.append(status)
        with pytest.raises(SendFailed, match=f"status {status}") as raised:
            send(a_target(receiver.url))
    assert raised.value.retry_after_s == retry_after_s


def test_a_collector_that_is_away_may_come_back() -> None:
    with pytest.raises(SendFailed, match="unreachable") as raised:
        send(a_target(f"http://127.0.0.1:{free_port()}"))
    assert raised.value.retry_after_s == 0


def test_over_tls_the_authority_is_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(trust)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with http_receiver(trust) as receiver:
        assert send(a_target(receiver.url, ca_file=str(file))) == 0
        with pytest.raises(SendFailed, match="unreachable"):
            send(a_target(receiver.url))
    assert len(receiver.spans) == 1


def test_a_certificate_of_our_own_must_be_one(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("none")
    with pytest.raises(OSError, match=r"PEM|pem"):
        HttpSender(a_target("https://localhost", certificate_file=str(file)))


def test_an_answer_that_is_no_protobuf_refuses_nothing() -> None:
    assert refused_spans(b"<html>ok</html>") == 0
