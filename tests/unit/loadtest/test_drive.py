import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from gateway.loadtest.arrivals import ClosedLoop, Extent, Load, OpenLoop, Replay
from gateway.loadtest.drive import Driver, Run
from gateway.loadtest.lengths import read_length
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.requests import Asking, Synthetic
from gateway.loadtest.trace import TraceEntry
from gateway.remote.address import headers_of, origin_of
from gateway.remote.endpoint import Endpoint
from tests.support.simulated import Simulated, an_engine

pytestmark = pytest.mark.integration

PROMPTS = Synthetic("s", read_length("12", "x"), read_length("3", "x"))


@asynccontextmanager
async def a_driver(
    engine: Simulated, told: list[Outcome] | None = None, fault: str = ""
) -> AsyncIterator[Driver]:
    headers = headers_of(None, [f"x-simulate-fault: {fault}"] if fault else [])
    async with Endpoint(origin_of(engine.engine.url), headers, timeout_s=10) as endpoint:
        yield Driver(endpoint, PROMPTS, Asking("sim"), (told if told is not None else []).append)


async def driven(load: Load, extent: Extent, **options: Any) -> Run:
    async with an_engine(**options) as engine, a_driver(engine) as driver:
        return await driver.drive(load, extent, random.Random(1))


async def test_an_open_loop_starts_when_it_is_meant_to() -> None:
    told: list[Outcome] = []
    async with an_engine() as engine, a_driver(engine, told) as driver:
        load, extent = OpenLoop(200.0, "constant"), Extent(requests=30)
        run = await driver.drive(load, extent, random.Random(1))
    assert run.sent == len(run.outcomes) == len(told) == 30
    assert run.unfinished == 0
    ordered = sorted(run.outcomes, key=lambda one: one.number)
    assert [one.intended_s for one in ordered] == [i / 200 for i in range(30)]
    assert all(one.lag_s >= 0 for one in ordered)
    assert all(one.is_whole for one in ordered)
    assert run.client.wall_s >= 29 / 200
    assert run.client.cpu_s >= 0


async def test_an_open_loop_does_not_wait_for_answers() -> None:
    """All requests are in the engine before the first of them is answered."""
    async with an_engine(inter_token_s=0.3) as engine, a_driver(engine) as driver:
        await driver.drive(OpenLoop(1000.0, "constant"), Extent(requests=10), random.Random(1))
        assert len(engine.engine.requests) == 10
    first_end = min(one.ended_s for one in driver.run.outcomes)
    assert all(one.sent_s < first_end for one in driver.run.outcomes)


async def test_a_closed_loop_has_so_many_open_and_no_more() -> None:
    run = await driven(ClosedLoop(3), Extent(requests=12), inter_token_s=0.01)
    changes = sorted(
        [(o.sent_s, 1) for o in run.outcomes] + [(o.ended_s, -1) for o in run.outcomes]
    )
    open_now, most = 0, 0
    for _, change in changes:
        open_now += change
        most = max(most, open_now)
    assert most == 3
    assert sorted(one.number for one in run.outcomes) == list(range(12))
    assert all(one.lag_s >= 0 for one in run.outcomes)


async def test_a_closed_loop_ends_with_its_time_and_pauses_between() -> None:
    run = await driven(ClosedLoop(1, think_s=0.05), Extent(duration_s=0.3))
    assert 1 <= len(run.outcomes) <= 7
    assert all(one.intended_s < 0.3 for one in run.outcomes)


async def test_a_trace_is_replayed() -> None:
    entries = tuple(TraceEntry(at_s, 5, 2) for at_s in (0.0, 0.02, 0.1))
    run = await driven(Replay(entries, speed=2.0), Extent())
    assert sorted(one.intended_s for one in run.outcomes) == [0.0, 0.01, 0.05]


async def test_what_is_open_when_it_is_cancelled_is_unfinished() -> None:
    async with (
        an_engine() as engine,
        a_driver(engine, fault="stall-before-headers") as driver,
    ):
        with anyio.move_on_after(0.3):
            await driver.drive(ClosedLoop(2), Extent(requests=9), random.Random(1))
    assert (driver.run.sent, driver.run.unfinished) == (2, 2)
    assert driver.run.client.wall_s > 0
