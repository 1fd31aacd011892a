from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from gateway.telemetry import otlp
from gateway.telemetry.otlp import Kind
from gateway.telemetry.otlp_grpc import GrpcSender
from gateway.telemetry.otlp_target import OtlpProtocol, OtlpTarget
from gateway.telemetry.trace_export import SendFailed
from tests.support.otlp_receiver import grpc_receiver
from tests.support.ports import free_port

REQUEST = otlp.request(b"", b"", [otlp.span("s", Kind.CLIENT, 1, 2, 0, 3, 4)])


def send(url: str, **more: Any) -> int:
    sender = GrpcSender(OtlpTarget(url, OtlpProtocol.GRPC, timeout_s=5, **more))
    try:
        return sender.send(REQUEST)
    finally:
        sender.close()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_batch_arrives_with_its_headers(compressed: bool) -> None:
    with grpc_receiver() as receiver:
        receiver.refused = 1
        assert send(receiver.url, headers=(("x-key", "k"),), gzip=compressed) == 1
    assert [one.name for one in receiver.spans] == ["s"]
    assert receiver.headers[0]["x-key"] == "k"


@pytest.mark.parametrize(
    ("code", "retry_after_s"),
    [(grpc.StatusCode.UNAVAILABLE, 0.0), (grpc.StatusCode.PERMISSION_DENIED, None)],
)
def test_only_some_refusals_may_be_tried_again(
    code: grpc.StatusCode, retry_after_s: float | None
) -> None:
    with grpc_receiver() as receiver:
        receiver.failures.append(code)
        with pytest.raises(SendFailed, match=code.name.lower().replace("_", " ")) as raised:
            send(receiver.url)
    assert raised.value.retry_after_s == retry_after_s


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_collector_that_is_away_may_come_back(host: str) -> None:
    with pytest.raises(SendFailed, match="unavailable") as raised:
        send(f"http://{host}:{free_port()}")
    assert raised.value.retry_after_s == 0


def test_over_tls_the_authority_is_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    key, chain = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with grpc_receiver(grpc.ssl_server_credentials([(key, chain)])) as receiver:
        assert send(receiver.url, ca_file=str(file)) == 0
        with pytest.raises(SendFailed, match="unavailable"):
            send(receiver.url)
    assert len(receiver.spans) == 1


def test_a_certificate_that_cannot_be_read_is_told() -> None:
    with pytest.raises(OSError, match="nowhere"):
        send("https://localhost:1", ca_file="/nowhere.pem")
