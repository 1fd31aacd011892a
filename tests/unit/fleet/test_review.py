from typing import Any

import anyio
import pytest
from typing_extensions import override

from gateway.fleet import review
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.review import keep_reviewing
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock


class Reviewed(FleetState):
    """Notes when it is looked at; its replica is due once."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(a_catalog())
        self.clock = clock
        self.reviews: list[float] = []
        self.comparisons: list[float] = []
        self.tried: list[ReplicaState] = []
        self.is_over = anyio.Event()

    @override
    def due(self, now_s: float) -> list[ReplicaState]:
        self.reviews.append(now_s)
        self.clock.pass_s(4)
        if len(self.reviews) == 8:
            self.is_over.set()
        return list(self) if now_s == 8 else []

    @override
    def compare(self, now_s: float) -> None:
        self.comparisons.append(now_s)

    async def run(self, state: ReplicaState) -> None:
        """As the trials do."""
        self.tried.append(state)


async def test_ejections_are_looked_at_often_and_success_rates_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(review, "REVIEW_EVERY_S", 0)
    clock = FakeClock(0.0)
    fleet = Reviewed(clock)
    trials: Any = fleet
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(keep_reviewing, fleet, trials, clock)
            await fleet.is_over.wait()
            group.cancel_scope.cancel()
    assert fleet.reviews[:8] == [0, 4, 8, 12, 16, 20, 24, 28]
    assert fleet.comparisons[:2] == [12, 24]
    assert fleet.tried == list(fleet)
