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
    names: dict[str, list[tuple[str, str]]] = {}
    for model in fleet.catalog.models.values():
        for variant in model.variants:  # an adapter's are told under names of their own
            names.setdefault(variant.engines.name, []).append((variant.model, variant.name))
    present = {
        (model_name, variant_name, state.name)
        for state in fleet
        for model_name, variant_name in names.get(state.variant.name, ())
    }
    if gone := departed.due(metrics.routes(), present, now_s):
        metrics.forget(gone)
