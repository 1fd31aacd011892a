from pathlib import Path
from typing import Any

import pytest

from gateway.config.otlp import otlp_target, sample_ratio
from gateway.config.telemetry import Telemetry
from gateway.errors import ConfigInvalid
from gateway.telemetry.otlp_target import OtlpProtocol, OtlpTarget

PREFIX = "OTEL_EXPORTER_OTLP_"


def target(environ: dict[str, str] | None = None, **given: Any) -> OtlpTarget | None:
    return otlp_target(Telemetry.model_validate(given), environ or {})


def sure(environ: dict[str, str] | None = None, **given: Any) -> OtlpTarget:
    found = target(environ, **given)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("given", "environ", "url", "protocol"),
    [
        ("http://c:4317", {}, "http://c:4317", "grpc"),
        ("http://c:4318", {}, "http://c:4318/v1/traces", "http/protobuf"),
        ("http://c:4318/", {}, "http://c:4318/v1/traces", "http/protobuf"),
        ("http://c/base", {}, "http://c/base/v1/traces", "http/protobuf"),
        ("http://c/v1/traces", {}, "http://c/v1/traces", "http/protobuf"),
        (None, {"ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces", "http/protobuf"),
        (None, {"TRACES_ENDPOINT": "http://c/as/is"}, "http://c/as/is", "http/protobuf"),
        (None, {"ENDPOINT": "http://c:1", "PROTOCOL": "grpc"}, "http://c:1", "grpc"),
        (
            "http://file:4318",
            {"ENDPOINT": "http://c:1", "TRACES_ENDPOINT": "http://c:2"},
            "http://file:4318/v1/traces",
            "http/protobuf",
        ),
        (
            None,
            {"ENDPOINT": "http://c:4317", "PROTOCOL": "grpc", "TRACES_PROTOCOL": "http/protobuf"},
            "http://c:4317/v1/traces",
            "http/protobuf",
        ),
    ],
)
def test_the_file_wins_and_then_the_variable_for_traces(
    given: str | None, environ: dict[str, str], url: str, protocol: str
) -> None:
    named = {PREFIX + name: value for name, value in environ.items()}
    found = sure(named, otlp_endpoint=given)
    assert (found.url, found.protocol) == (url, OtlpProtocol(protocol))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {PREFIX + "ENDPOINT": ""},
        {PREFIX + "ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
        {PREFIX + "ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_without_a_collector_nothing_is_traced(environ: dict[str, str]) -> None:
    assert target(environ) is None


def test_headers_of_the_file_win_over_those_of_the_variable() -> None:
    environ = {PREFIX + "HEADERS": "X-Tenant=one%20two, other=2,junk", "KEY": "secret"}
    headers = {"X-Tenant": {"from_env": "KEY"}}
    found = sure(environ, otlp_endpoint="http://c", otlp_headers=headers)
    assert dict(found.headers) == {"x-tenant": "secret", "other": "2"}
    assert "secret" not in repr(found)


def test_the_rest_is_opentelemetrys(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("pem")
    environ = {
        PREFIX + "TIMEOUT": "2500",
        PREFIX + "COMPRESSION": "gzip",
        PREFIX + "CERTIFICATE": str(file),
        PREFIX + "TRACES_CLIENT_KEY": str(file),
    }
    found = sure(environ, otlp_endpoint="https://c")
    assert (found.timeout_s, found.gzip, found.is_secure) == (2.5, True, True)
    assert (found.ca_file, found.key_file, found.certificate_file) == (str(file), str(file), None)


def test_every_problem_is_told_at_once() -> None:
    environ = {
        PREFIX + "TIMEOUT": "soon",
        PREFIX + "PROTOCOL": "http/json",
        PREFIX + "CERTIFICATE": "/nowhere.pem",
    }
    headers = {"key": {"from_env": "NOT_SET"}}
    with pytest.raises(ConfigInvalid) as raised:
        target(environ, otlp_endpoint="http://c", otlp_headers=headers)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        PREFIX + "PROTOCOL",
        "telemetry.otlp_headers.key",
        PREFIX + "TIMEOUT",
        PREFIX + "CERTIFICATE",
    ]


def test_an_address_in_the_environment_that_is_none_is_named() -> None:
    with pytest.raises(ConfigInvalid) as raised:
        target({PREFIX + "ENDPOINT": "collector:4317"})
    (problem,) = raised.value.problems
    assert problem.startswith(PREFIX + "ENDPOINT: must be a URL")


@pytest.mark.parametrize(
    ("given", "sampler", "argument", "ratio"),
    [
        (None, "", "", 1.0),
        (0.25, "always_off", "", 0.25),
        (None, "always_off", "", 0.0),
        (None, "parentbased_always_on", "0.5", 1.0),
        (None, "traceidratio", "0.5", 0.5),
        (None, "parentbased_traceidratio", "", 1.0),
    ],
)
def test_the_share_is_the_files_or_opentelemetrys(
    given: float | None, sampler: str, argument: str, ratio: float
) -> None:
    environ = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert sample_ratio(Telemetry(sample_ratio=given), environ) == ratio


@pytest.mark.parametrize("argument", ["x", "2", "-1", "nan"])
def test_a_share_that_is_none_is_refused(argument: str) -> None:
    environ = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument}
    with pytest.raises(ConfigInvalid, match="OTEL_TRACES_SAMPLER_ARG"):
        sample_ratio(Telemetry(), environ)
