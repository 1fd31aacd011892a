import anyio
import pytest
from typing_extensions import override

from gateway.fleet import review
from gateway.fleet.review import keep_reviewing
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock


class Reviewed(FleetState):
    """Notes when it is looked at; leaves when it has seen enough."""

    def __init__(self, clock: FakeClock, scope: anyio.CancelScope) -> None:
        super().__init__(a_catalog())
        self.clock = clock
        self.scope = scope
        self.reviews: list[float] = []
        self.comparisons: list[float] = []

    @override
    def review(self, now_s: float) -> None:
        self.reviews.append(now_s)
        self.clock.pass_s(4)
        if len(self.reviews) == 8:
            self.scope.cancel()

    @override
    def compare(self, now_s: float) -> None:
        self.comparisons.append(now_s)


async def test_ejections_are_looked_at_often_and_success_rates_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(review, "REVIEW_EVERY_S", 0)
    clock = FakeClock(0.0)
    with anyio.fail_after(10), anyio.CancelScope() as scope:
        fleet = Reviewed(clock, scope)
        await keep_reviewing(fleet, clock)
    assert fleet.reviews == [0, 4, 8, 12, 16, 20, 24, 28]
    assert fleet.comparisons == [12, 24]
