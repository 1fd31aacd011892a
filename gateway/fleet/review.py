"""Look at the fleet again at a steady pace: ejections that are over, replicas that stand out."""

import anyio

from gateway.clock import Clock
from gateway.fleet.state import FleetState

REVIEW_EVERY_S = 0.25
_COMPARE_EVERY_S = 10.0


async def keep_reviewing(fleet: FleetState, clock: Clock) -> None:
    """Until cancelled."""
    compared_s = clock.now_s()
    while True:
        await anyio.sleep(REVIEW_EVERY_S)
        now_s = clock.now_s()
        fleet.review(now_s)
        if now_s - compared_s >= _COMPARE_EVERY_S:
            compared_s = now_s
            fleet.compare(now_s)
