from gateway.telemetry.otlp_target import OtlpProtocol, OtlpTarget


def test_tls_is_in_the_url_and_secrets_are_not_shown() -> None:
    target = OtlpTarget("https://c", OtlpProtocol.HTTP, (("key", "secret"),))
    assert target.is_secure
    assert "secret" not in repr(target)
    assert not OtlpTarget("http://c", OtlpProtocol.GRPC).is_secure
