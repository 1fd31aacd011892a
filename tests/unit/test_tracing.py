import random

import pytest

from gateway.clock import SystemClock
from gateway.config.telemetry import Telemetry
from gateway.errors import ConfigInvalid
from gateway.telemetry.metrics import Metrics
from gateway.tracing import Traced
from tests.support.otlp_receiver import http_receiver


def traced(environ: dict[str, str] | None = None, **given: object) -> Traced:
    telemetry = Telemetry.model_validate(given)
    return Traced(telemetry, environ or {}, Metrics(), SystemClock(), random.Random(1), None)


async def test_without_a_collector_there_is_nothing_to_start_or_close() -> None:
    it = traced()
    it.configure(Telemetry(sample_ratio=0.5))
    it.start()
    await it.aclose()


async def test_a_changed_file_changes_what_is_kept() -> None:
    with http_receiver() as receiver:
        it = traced(otlp_endpoint=receiver.url)
        sampler = it._sampler
        assert sampler is not None
        assert (sampler.ratio, sampler.slow_s) == (1.0, 10)
        it.configure(Telemetry(sample_ratio=0.5, slow_s=2))
        assert (sampler.ratio, sampler.slow_s) == (0.5, 2)
        it.start()
        await it.aclose()


def test_variables_that_make_no_sense_stop_the_start() -> None:
    with pytest.raises(ConfigInvalid):
        traced({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector"})
