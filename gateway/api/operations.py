"""For operators and their machines: health, readiness, metrics, and the fleet as it is."""

from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response

from gateway.api.admin import admin_router
from gateway.api.readiness import Readiness
from gateway.clock import Clock
from gateway.fleet.catalog import UNLIMITED
from gateway.fleet.discoveries import Discoveries, Standings
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.fleet.waking import is_away
from gateway.limits.store import LimitStore
from gateway.queueing.queues import Queues, max_waiting
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.negotiation import wanted


def operations_router(
    readiness: Readiness,
    fleet: FleetState,
    store: LimitStore,
    metrics: Metrics,
    discoveries: Discoveries,
) -> APIRouter:
    """`/health`, `/ready` and `/metrics`."""
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="200 while the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready", summary="200 when it can serve, 503 while starting or draining")
    async def ready() -> Response:
        detail = readiness.detail(fleet, store, discoveries)
        return JSONResponse(detail, 503 if readiness.reasons else 200)

    @router.get("/metrics", summary="Metrics, in the text format that the scraper prefers")
    async def scraped(accept: Annotated[str | None, Header()] = None) -> Response:
        kind = wanted(accept)
        return Response(metrics.render(kind), media_type=kind.value, headers={"vary": "accept"})

    return router


def fleet_router(
    fleet: FleetState,
    queues: Queues,
    discoveries: Discoveries,
    clock: Clock,
    admin_key: SecretStr | None,
) -> APIRouter:
    """`/admin/fleet`."""
    router = admin_router(admin_key)

    @router.get(
        "/fleet",
        summary="Every replica: condition and why, ejection, requests and how many it is to have, "
        "KV cache use; calls that wait, and how replicas are discovered, by variant",
    )
    async def show_fleet() -> dict[str, object]:
        return {
            "replicas": [_shown(state, clock) for state in fleet],
            "queues": [
                {
                    "model": model.name,
                    "variant": variant.name,
                    "waiting": queues.waiting(variant.name),
                    "max_waiting": max_waiting(fleet, variant),
                    "away": is_away(fleet, variant),
                }
                for model in fleet.catalog.models.values()
                for variant in model.variants
                if variant.of is None
            ],
            "discovery": [_looked_up(standings, clock) for standings in discoveries.standings()],
        }

    return router


def _looked_up(one: Standings, clock: Clock) -> dict[str, object]:
    sure = None if one.age_s is None else round(clock.unix_s() - one.age_s, 3)
    return {
        "model": one.variant.model,
        "variant": one.variant.name,
        "by": one.kind,
        "looks_up": one.looked_up,
        "state": one.state,
        "reason": one.failing,
        "updated": sure,
        "endpoints": {name.value: count for name, count in one.endpoints.items()},
    }


def _shown(state: ReplicaState, clock: Clock) -> dict[str, object]:
    ejection = state.health.ejection
    until = None
    if ejection is not None and not ejection.on_trial:
        until = round(clock.unix_s() + ejection.until_s - clock.now_s(), 3)
    rate = state.record.success_rate
    return {
        "model": state.variant.model,
        "variant": state.variant.name,
        "replica": state.name,
        "url": state.replica.url,
        "engine": state.variant.engine,
        "condition": state.condition.value,
        "reason": state.reason,
        "usable": state.is_usable,
        "ejected_until": until,
        "ejections": state.health.ejections,
        "consecutive_failures": state.record.failures,
        "success_rate": None if rate is None else round(rate, 4),
        "metrics_readable": state.is_load_known,
        "in_flight": state.in_flight,
        "concurrency_target": state.most if state.most < UNLIMITED else None,
        "concurrency_basis": state.target.basis.value,
        "load": state.load,
        "kv_cache_used_ratio": state.kv_cache_used_ratio,
        "kv_cache_tokens": state.kv_cache_tokens,
        "adapters": None if state.adapters.known is None else sorted(state.adapters.known),
    }
