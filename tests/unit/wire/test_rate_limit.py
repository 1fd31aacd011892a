import pytest

from gateway.wire.rate_limit import go_duration, request_limit_headers, token_limit_headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0s"),
        (-1, b"0s"),
        (0.0000001, b"1ms"),
        (0.12, b"120ms"),
        (0.9991, b"1s"),
        (1, b"1s"),
        (1.5, b"1.5s"),
        (7.66, b"7.66s"),
        (59.9999, b"1m0s"),
        (90.25, b"1m30.25s"),
        (360, b"6m0s"),
        (3600, b"1h0m0s"),
        (3723, b"1h2m3s"),
        (86400, b"24h0m0s"),
    ],
)
def test_durations_as_go_prints_them(seconds: float, text: bytes) -> None:
    assert go_duration(seconds) == text


def test_the_three_headers_of_each_kind() -> None:
    assert token_limit_headers(200_000, 1_234, 120_000.0) == (
        (b"x-ratelimit-limit-tokens", b"200000"),
        (b"x-ratelimit-remaining-tokens", b"1234"),
        (b"x-ratelimit-reset-tokens", b"120ms"),
    )
    assert request_limit_headers(600, 599, 0.0) == (
        (b"x-ratelimit-limit-requests", b"600"),
        (b"x-ratelimit-remaining-requests", b"599"),
        (b"x-ratelimit-reset-requests", b"0s"),
    )
