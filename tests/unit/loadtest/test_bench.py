from dataclasses import replace

import anyio
import pytest

from gateway.loadtest.arrivals import ClosedLoop, Extent, Load, OpenLoop, Replay
from gateway.loadtest.bench import Bench, Setting, planned
from gateway.loadtest.lengths import read_length
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.requests import Asking, FromFile, Synthetic
from gateway.loadtest.sweep import Listed
from gateway.loadtest.trace import TraceEntry
from gateway.remote.address import headers_of, origin_of
from gateway.remote.endpoint import Endpoint
from gateway.remote.prompt_file import a_prompt
from tests.support.simulated import Simulated, an_engine

PROMPTS = Synthetic("s", read_length("80", "x"), read_length("3", "x"))
SETTING = Setting(
    asking=Asking("sim", ignores_end=True),
    prompts=PROMPTS,
    load=ClosedLoop(2),
    extent=Extent(requests=6),
    seed="s",
)


class Seen:
    """What a progress bar would be told."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, int | None]] = []
        self.answers = 0

    def began(self, what: str, requests: int | None) -> None:
        self.parts.append((what, requests))

    def answered(self, outcome: Outcome) -> None:
        self.answers += outcome.is_whole


async def benched(engine: Simulated, setting: Setting, seen: Seen | None = None) -> Bench:
    async with Endpoint(origin_of(engine.engine.url), headers_of(None), timeout_s=10) as endpoint:
        bench = Bench(endpoint, setting, seen or Seen())
        await bench.run()
        return bench


@pytest.mark.integration
async def test_one_load_is_measured_after_a_warm_up() -> None:
    seen = Seen()
    async with an_engine() as engine:
        bench = await benched(engine, replace(SETTING, warmup=3), seen)
    (test,) = bench.trials
    assert (test.summary.whole, test.verdict) == (6, None)
    assert seen.parts == [("warm-up", 3), ("2 at a time", 6)]
    assert seen.answers == 9


@pytest.mark.integration
async def test_prompts_are_as_long_as_was_asked_by_the_count_of_the_endpoint() -> None:
    async with an_engine() as engine:
        bench = await benched(engine, SETTING)
    for outcome in bench.trials[0].outcomes:
        assert outcome.prompt_tokens == pytest.approx(80, rel=0.2)
        assert outcome.completion_tokens == 3


@pytest.mark.integration
@pytest.mark.parametrize("load", [OpenLoop(1.0, "constant"), ClosedLoop(1)])
async def test_a_sweep_measures_one_rate_after_another(load: Load) -> None:
    rates = Listed((100.0, 200.0))
    async with an_engine() as engine:
        bench = await benched(engine, replace(SETTING, load=load, rates=rates))
        asked = {str(seen.body) for seen in engine.engine.requests}
    points = [test.point for test in bench.trials]
    assert [point.rate_per_s for point in points if point] == [100.0, 200.0]
    assert len(asked) == 2 + 12  # no prompt is sent twice: a cache would make it too fast


@pytest.mark.integration
async def test_prompts_of_a_file_stay_as_they_are() -> None:
    prompts = FromFile("s", [a_prompt("Hello")], read_length("2", "x"))
    async with an_engine() as engine:
        bench = await benched(engine, replace(SETTING, prompts=prompts))
        assert "'Hello'" in str(engine.engine.requests[-1].body)
    assert bench.trials[0].summary.completion_tokens == 12


@pytest.mark.integration
async def test_what_was_measured_before_an_interrupt_is_kept() -> None:
    setting = replace(SETTING, load=OpenLoop(50.0, "constant"), extent=Extent(requests=1000))
    async with (
        an_engine() as engine,
        Endpoint(origin_of(engine.engine.url), headers_of(None), timeout_s=10) as endpoint,
    ):
        bench = Bench(endpoint, setting, Seen())
        with anyio.move_on_after(0.5):
            await bench.run()
    (test,) = bench.trials
    assert 0 < test.summary.requests < 1000


@pytest.mark.integration
async def test_nothing_sent_is_nothing_tested() -> None:
    async with an_engine() as engine:
        bench = await benched(engine, replace(SETTING, load=Replay(()), extent=Extent()))
    assert bench.trials == []


@pytest.mark.parametrize(
    ("load", "extent", "expected"),
    [
        (OpenLoop(4.0), Extent(requests=10), 10),
        (OpenLoop(4.0), Extent(duration_s=5), 20),
        (OpenLoop(4.0), Extent(10, 5.0), 10),
        (OpenLoop(0.1), Extent(duration_s=1), 1),
        (ClosedLoop(4), Extent(duration_s=5), None),
        (Replay((TraceEntry(0, 1, 1),) * 3), Extent(), 3),
    ],
)
def test_how_many_requests_there_will_be(load: Load, extent: Extent, expected: int | None) -> None:
    assert planned(load, extent) == expected
