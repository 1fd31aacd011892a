from dataclasses import dataclass

import anyio
import anyio.lowlevel
import msgspec
from typing_extensions import override

from gateway.fleet.state import FleetState
from gateway.limits.limiter import Limiter
from gateway.limits.memory_store import MemoryStore
from gateway.live.levels import KeyLevels
from gateway.live.view import KeysView, View
from gateway.live.watch import IN_FLIGHT, USABLE_BY, WORKERS, Live
from gateway.telemetry.cells import OwnCells
from gateway.telemetry.counted import Counted
from gateway.telemetry.metrics import ROUTE, Metrics
from gateway.telemetry.recent_failures import RecentFailures
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock
from tests.support.live import a_line

PLACE = ("m", "m", "r0")


@dataclass
class Serving:
    is_draining: bool = False
    config_problems: tuple[str, ...] = ()


class Read(Metrics):
    """Counts how often it is read."""

    times = 0

    @override
    def counted(self) -> Counted:
        self.times += 1
        return super().counted()


class Levels(KeyLevels):
    """Counts how often they are asked."""

    times = 0

    @override
    async def read(self) -> KeysView:
        self.times += 1
        await anyio.lowlevel.checkpoint()
        return await super().read()


class Watched:
    """What is watched, and by what."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Read(OwnCells())
        self.metrics.level(WORKERS, "", (), lambda: [((), 1.0)])
        self.metrics.level(IN_FLIGHT, "", ROUTE, lambda: [(PLACE, 2.0)])
        self.metrics.level(USABLE_BY, "", ROUTE, lambda: [(PLACE, 1.0)])
        self.serving = Serving()
        self.failures = RecentFailures()
        fleet = FleetState(a_catalog())
        limiter = Limiter(MemoryStore(self.clock), self.metrics, self.clock)
        self.levels = Levels(fleet, None, limiter)
        self.live = Live(fleet, self.metrics, self.serving, self.failures, self.levels, self.clock)

    async def view(self) -> View:
        return msgspec.json.decode(await self.live.view(), type=View)


async def test_a_view_says_what_is_there() -> None:
    it = Watched()
    it.failures.add(a_line(request_id="req_x"))
    it.serving.config_problems = ("models: required",)
    view = await it.view()
    (replica,) = view.models[0].variants[0].replicas
    assert (replica.replica, replica.condition, replica.in_flight) == (PLACE[2], "unknown", 2)
    assert (replica.usable, replica.usable_by, replica.reason) == (True, 1, None)
    assert (replica.running, replica.waiting) == (None, None)
    assert (view.workers, view.in_flight) == (1, 2)
    assert [line.request_id for line in view.failures] == ["req_x"]
    assert view.config_problems == ["models: required"]
    assert view.time_unix_s == it.clock.unix_s()


async def test_rates_come_with_the_second_view_over_a_window_that_grows_to_ten_seconds() -> None:
    it = Watched()
    views = []
    for _ in range(15):
        it.metrics.ended(PLACE, "ok").requests.add(3)
        views.append(await it.view())
        it.clock.pass_s(1)
    windows = [view.window_s for view in views]
    assert windows[:3] == [None, 1, 2]
    assert windows[-3:] == [10, 10, 10]
    last = views[-1].total
    assert last is not None
    assert last.requests_per_s == 3


async def test_after_a_while_without_watchers_it_begins_anew() -> None:
    it = Watched()
    await it.view()
    it.clock.pass_s(1)
    assert (await it.view()).window_s == 1
    it.clock.pass_s(60)
    assert (await it.view()).window_s is None


async def test_all_watchers_share_one_reading_a_second_and_limits_are_asked_less() -> None:
    it = Watched()
    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(it.live.view)
        it.clock.pass_s(1)
    assert it.metrics.times == 3
    assert it.levels.times == 1
    it.clock.pass_s(5)
    await it.view()
    assert it.levels.times == 2


async def test_it_is_over_when_the_gateway_drains() -> None:
    it = Watched()
    for is_draining in (False, True):
        it.serving.is_draining = is_draining
        assert it.live.is_over is is_draining
    assert (await it.view()).draining
