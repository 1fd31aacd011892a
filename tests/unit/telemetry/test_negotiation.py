import pytest

from gateway.telemetry.negotiation import Format, wanted

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_3,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "application/openmetrics-text",
        'Application/OpenMetrics-Text; Version="1.0.0"',
        "text/plain;q=0.5, application/openmetrics-text;q=0.6",
        "application/openmetrics-text, text/plain",
        "text/plain;q=bad, application/openmetrics-text;q=0.1",
        "text/plain;q=7, application/openmetrics-text;q=0.1",
    ],
)
def test_who_asks_for_openmetrics_gets_it(accept: str) -> None:
    assert wanted(accept) is Format.OPENMETRICS


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "text/plain;version=0.0.4",
        "text/plain, application/openmetrics-text",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;q=0.3,text/plain;q=0.4",
        ";;,=,q=",
    ],
)
def test_everybody_else_gets_prometheus_own(accept: str | None) -> None:
    assert wanted(accept) is Format.PROMETHEUS
