"""Wires traces and the stories of calls, as the configuration says."""

import importlib
import random
from collections.abc import Mapping
from typing import cast

import anyio
import anyio.to_thread

from gateway import __version__
from gateway.clock import Clock
from gateway.config.otlp import otlp_target, sample_ratio
from gateway.config.telemetry import Telemetry
from gateway.proxy.stories import Stories, Tracing
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recent import Recent
from gateway.telemetry.trace_export import SpanCounts, TraceExport
from gateway.telemetry.tracing import Sampler

_CLOSE_S = 5


class Traced:
    """What is told of calls. `recent` None: no call is remembered."""

    def __init__(
        self,
        given: Telemetry,
        environ: Mapping[str, str],
        metrics: Metrics,
        clock: Clock,
        rng: random.Random,
        recent: Recent | None,
    ) -> None:
        """Raises ConfigInvalid."""
        self.recent = recent
        self._environ = environ
        self._sampler: Sampler | None = None
        self._export: TraceExport | None = None
        target = otlp_target(given, environ)
        if target is None:
            self.stories = Stories(clock, None, recent)
            return
        counts = SpanCounts(*(metrics.spans.cell(one) for one in ("sent", "failed", "dropped")))
        # the SDK and what it needs are loaded only by those who trace
        sending = importlib.import_module("gateway.telemetry.trace_sending")
        self._export = cast("TraceExport", sending.open_export(target, __version__, counts))
        ratio = sample_ratio(given, environ)
        self._sampler = Sampler(ratio, given.slow_s, random.Random(rng.getrandbits(64)))
        tracing = Tracing(self._sampler, self._export.add, records_content=given.record_content)
        self.stories = Stories(clock, tracing, recent)

    def configure(self, given: Telemetry) -> None:
        """The file has changed. Where traces go stays as it was at the start."""
        if self._sampler is not None:
            self._sampler.ratio = sample_ratio(given, self._environ)
            self._sampler.slow_s = given.slow_s

    def start(self) -> None:
        if self._export is not None:
            self._export.start()

    async def aclose(self) -> None:
        """Send what is left, for a few seconds at most."""
        export = self._export
        if export is not None:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await anyio.to_thread.run_sync(export.close, abandon_on_cancel=True)
