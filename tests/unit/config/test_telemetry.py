from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.telemetry import Telemetry, wrong_with_url


def test_nothing_is_traced_and_no_content_recorded_unless_it_is_asked_for() -> None:
    given = Telemetry()
    assert given.otlp_endpoint is None
    assert not given.record_content
    assert given.recent_requests == 1000


@pytest.mark.parametrize(
    "more",
    [
        {"sample_ratio": 1.1},
        {"sample_ratio": -0.1},
        {"sample_ratio": True},
        {"slow_s": 0},
        {"recent_requests": -1},
        {"otlp_protocol": "http/json"},
        {"otlp_endpoint": "collector:4317"},
        {"otlp_headers": {"bad name": {"value": "x"}}},
        {"otlp_headers": {"": {"value": "x"}}},
        {"otlp_headers": {"name": "x"}},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Telemetry.model_validate(more)


@pytest.mark.parametrize(
    ("url", "is_right"),
    [
        ("http://collector:4317", True),
        ("https://collector/v1/traces", True),
        ("http://[::1]:4318", True),
        ("grpc://collector:4317", False),
        ("http://", False),
        ("http://collector:99999", False),
        ("http://collector:0", False),
        ("http://user:password@collector", False),
        ("http://collector/?key=secret", False),
        ("http://[::1", False),
    ],
)
def test_a_collector_is_a_url_without_secrets(url: str, is_right: bool) -> None:
    assert (wrong_with_url(url) is None) is is_right
