"""A whole load test: prepare, warm up, then one load, or one rate after another.

What was measured until an interrupt is kept, and the report says that there was one.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.loadtest.arrivals import ClosedLoop, Extent, Load, OpenLoop, Replay
from gateway.loadtest.drive import Driver
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.prepare import prepare
from gateway.loadtest.requests import Asking, Prompts, Synthetic, Traced
from gateway.loadtest.slo import Slo
from gateway.loadtest.summary import summary_of
from gateway.loadtest.sweep import Point, judged
from gateway.loadtest.trial import Trial, load_words
from gateway.remote.endpoint import Endpoint


class Rates(Protocol):
    """Which rates a sweep tries."""

    def next_rate(self, points: list[Point]) -> float | None:
        """None when it is over."""
        ...


class Watcher(Protocol):
    """Is told how a test goes on."""

    def began(self, what: str, requests: int | None) -> None:
        """A test begins; of how many requests, where that is known."""
        ...

    def answered(self, outcome: Outcome) -> None:
        """A request has come to its end."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What is tested, and how. `rates` None: `load` alone is."""

    asking: Asking
    prompts: Prompts
    load: Load
    extent: Extent
    seed: str
    slo: Slo = field(default_factory=Slo)
    rates: Rates | None = None
    attainment: float = 0.99
    warmup: int = 0


class Bench:
    """One load test. `trials` grows while it runs and holds what there is after an interrupt."""

    def __init__(self, endpoint: Endpoint, setting: Setting, watcher: Watcher) -> None:
        self.trials: list[Trial] = []
        self.notes: tuple[str, ...] = ()
        self.setting = setting
        self._endpoint = endpoint
        self._watcher = watcher

    async def run(self) -> None:
        """Raises NotReady when the endpoint does not answer a first question."""
        given = self.setting
        prepared = await prepare(self._endpoint, given.asking, self._chance("prepare"))
        self.notes = prepared.notes
        prompts = given.prompts
        if isinstance(prompts, Synthetic | Traced):
            prompts = replace(prompts, scale=prepared.scale)
        self.setting = replace(given, asking=prepared.asking, prompts=prompts)
        if given.warmup:
            await self._warm_up()
        if given.rates is None:
            await self._test(given.load, None)
            return
        points: list[Point] = []
        while (rate := given.rates.next_rate(points)) is not None:
            await self._test(_at_rate(given.load, rate), len(points))
            points += [point for point in [self.trials[-1].point] if point is not None]

    async def _warm_up(self) -> None:
        self._watcher.began("warm-up", self.setting.warmup)
        driver = self._driver("warm-up", self._watcher.answered)
        load = ClosedLoop(min(8, self.setting.warmup))
        await driver.drive(load, Extent(requests=self.setting.warmup), self._chance("warm-up"))

    async def _test(self, load: Load, number: int | None) -> None:
        """`number`: of the rate in a sweep, whose prompts no other rate has sent before."""
        extent, slo = self.setting.extent, self.setting.slo
        part = "test" if number is None else f"test {number}"
        self._watcher.began(load_words(load), planned(load, extent))
        driver = self._driver(part, self._watcher.answered)
        try:
            await driver.drive(load, extent, self._chance(part))
        finally:
            run = driver.run
            if run.sent:
                summary = summary_of(
                    run.outcomes,
                    run.client,
                    slo,
                    is_open=not isinstance(load, ClosedLoop),
                    unfinished=run.unfinished,
                )
                verdict = None if number is None else judged(summary, self.setting.attainment)
                self.trials.append(Trial(load, run.outcomes, summary, verdict))

    def _driver(self, part: str, told: Callable[[Outcome], None]) -> Driver:
        prompts = self.setting.prompts
        if isinstance(prompts, Synthetic | Traced):
            prompts = replace(prompts, seed=f"{prompts.seed}:{part}")
        return Driver(self._endpoint, prompts, self.setting.asking, told)

    def _chance(self, part: str) -> random.Random:
        return random.Random(f"{self.setting.seed}:{part}")


def planned(load: Load, extent: Extent) -> int | None:
    """How many requests there will be, about; None where nobody knows."""
    counts = [] if extent.requests is None else [extent.requests]
    if isinstance(load, Replay):
        counts.append(len(load.entries))
    if isinstance(load, OpenLoop) and extent.duration_s is not None:
        counts.append(max(1, round(load.rate_per_s * extent.duration_s)))
    return min(counts, default=None)


def _at_rate(load: Load, rate_per_s: float) -> OpenLoop:
    if isinstance(load, OpenLoop):
        return replace(load, rate_per_s=rate_per_s)
    return OpenLoop(rate_per_s)
