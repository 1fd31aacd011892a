"""Give up the series of replicas that are gone, at a steady pace."""

import anyio

from gateway.clock import Clock
from gateway.fleet.state import FleetState
from gateway.telemetry.departed import Departed
from gateway.telemetry.metrics import Metrics

FORGET_EVERY_S = 10.0


async def keep_forgetting(fleet: FleetState, metrics: Metrics, clock: Clock) -> None:
    """Until cancelled."""
    departed = Departed()
    while True:
        await anyio.sleep(FORGET_EVERY_S)
        forget(fleet, metrics, departed, clock.now_s())


def forget(fleet: FleetState, metrics: Metrics, departed: Departed, now_s: float) -> None:
    """Once. A replica whose last request still runs is not gone."""
    present = {(state.variant.model, state.variant.name, state.name) for state in fleet}
    if gone := departed.due(metrics.routes(), present, now_s):
        metrics.forget(gone)
