"""Look at the fleet again at a steady pace: ejections that are over, replicas that stand out."""

import anyio

from gateway.clock import Clock
from gateway.fleet.state import FleetState
from gateway.fleet.trials import Trials

REVIEW_EVERY_S = 0.25
_COMPARE_EVERY_S = 10.0


async def keep_reviewing(fleet: FleetState, trials: Trials, clock: Clock) -> None:
    """Until cancelled."""
    compared_s = clock.now_s()
    async with anyio.create_task_group() as group:
        while True:
            await anyio.sleep(REVIEW_EVERY_S)
            now_s = clock.now_s()
            for state in fleet.due(now_s):
                group.start_soon(trials.run, state)
            if now_s - compared_s >= _COMPARE_EVERY_S:
                compared_s = now_s
                fleet.compare(now_s)
