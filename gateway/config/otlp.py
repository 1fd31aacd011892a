"""Where traces go: the configuration file's word, else OpenTelemetry's variables.

Source: OpenTelemetry specification, "OTLP Exporter Configuration" and "General SDK
Configuration": a variable for traces wins over the one for all signals, whose path is a base.
"""

import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from gateway.config.telemetry import Telemetry, wrong_with_url
from gateway.errors import ConfigInvalid
from gateway.telemetry.otlp_target import OtlpProtocol, OtlpTarget

_TRACES_PATH = "/v1/traces"
_GRPC_PORT = 4317
_PREFIX = "OTEL_EXPORTER_OTLP_"
_RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")


def otlp_target(given: Telemetry, environ: Mapping[str, str]) -> OtlpTarget | None:
    """The collector; None where there is none. Raises ConfigInvalid with every problem."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    url, path = given.otlp_endpoint, "telemetry.otlp_endpoint"
    is_exact = False
    if url is None:
        if environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
            return None
        path = _PREFIX + "TRACES_ENDPOINT"
        is_exact = bool(environ.get(path))
        path = path if is_exact else _PREFIX + "ENDPOINT"
        url = environ.get(path) or None
    if url is None:
        return None
    problems: list[str] = []
    if (wrong := wrong_with_url(url)) is not None:
        raise ConfigInvalid((f"{path}: {wrong}",))
    protocol = _protocol(given, environ, url, problems)
    target = OtlpTarget(
        url=url if is_exact or protocol is OtlpProtocol.GRPC else _with_path(url),
        protocol=protocol,
        headers=_headers(given, environ, problems),
        timeout_s=_timeout_s(environ, problems),
        gzip=_variable(environ, "COMPRESSION") == "gzip",
        ca_file=_file(environ, "CERTIFICATE", problems),
        certificate_file=_file(environ, "CLIENT_CERTIFICATE", problems),
        key_file=_file(environ, "CLIENT_KEY", problems),
    )
    if problems:
        raise ConfigInvalid(tuple(problems))
    return target


def sample_ratio(given: Telemetry, environ: Mapping[str, str]) -> float:
    """The share of calls that is sampled. Raises ConfigInvalid."""
    if given.sample_ratio is not None:
        return given.sample_ratio
    sampler = environ.get("OTEL_TRACES_SAMPLER", "")
    if sampler in ("always_off", "parentbased_always_off"):
        return 0.0
    argument = environ.get("OTEL_TRACES_SAMPLER_ARG", "")
    if sampler not in _RATIO_SAMPLERS or not argument:
        return 1.0
    try:
        ratio = float(argument)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise ConfigInvalid(("OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1",))
    return ratio


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    """A variable's value; empty ones are absent."""
    return environ.get(f"{_PREFIX}TRACES_{name}") or environ.get(_PREFIX + name) or None


def _file(environ: Mapping[str, str], name: str, problems: list[str]) -> str | None:
    path = _variable(environ, name)
    if path is not None and not os.access(path, os.R_OK):
        problems.append(f"{_PREFIX}{name}: the file cannot be read")
    return path


def _protocol(
    given: Telemetry, environ: Mapping[str, str], url: str, problems: list[str]
) -> OtlpProtocol:
    named = given.otlp_protocol or _variable(environ, "PROTOCOL")
    if named is None:
        return OtlpProtocol.GRPC if urlsplit(url).port == _GRPC_PORT else OtlpProtocol.HTTP
    try:
        return OtlpProtocol(named)
    except ValueError:
        problems.append(f"{_PREFIX}PROTOCOL: must be grpc or http/protobuf")
        return OtlpProtocol.HTTP


def _with_path(url: str) -> str:
    """OTLP's own path, behind the base that the operator gave."""
    base = url.rstrip("/")
    return base if base.endswith(_TRACES_PATH) else base + _TRACES_PATH


def _headers(
    given: Telemetry, environ: Mapping[str, str], problems: list[str]
) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for pair in (_variable(environ, "HEADERS") or "").split(","):
        name, equals, value = pair.partition("=")
        if equals:
            found[name.strip().lower()] = unquote(value.strip())
    for name, secret in given.otlp_headers.items():
        try:
            found[name.lower()] = secret.read(environ)
        except ValueError as exc:
            problems.append(f"telemetry.otlp_headers.{name}: {exc}")
    return tuple(found.items())


def _timeout_s(environ: Mapping[str, str], problems: list[str]) -> float:
    """Milliseconds, as the specification says, where Python's SDK takes seconds."""
    text = _variable(environ, "TIMEOUT")
    if text is None:
        return 10.0
    if not text.isdecimal() or not 0 < int(text) <= 600_000:
        problems.append(f"{_PREFIX}TIMEOUT: must be a number of milliseconds, at most 600000")
        return 10.0
    return int(text) / 1000
