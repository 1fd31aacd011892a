"""`GET /admin/limits/{key}`: what a key has left of each of its limits, and who holds its slots."""

from fastapi import APIRouter
from pydantic import BaseModel, SecretStr

from gateway.api.admin import admin_router
from gateway.auth.issuer import Issuer
from gateway.auth.keys import Caller
from gateway.errors import KeyNotFound
from gateway.fleet.state import FleetState
from gateway.limits.bucket import Bucket, left
from gateway.limits.limiter import Limiter


class Level(BaseModel):
    """A limit. `reset_s`: when all of it is there again; null for slots, where nobody knows."""

    rule: str
    limit: int
    burst: int
    left: int
    reset_s: float | None


class HoldShown(BaseModel):
    """A slot in use. `lease_s`: when it is free again should its process have died."""

    process: str
    hold: str
    lease_s: float | None


class LevelsShown(BaseModel):
    """A key's limits. `store_state` other than ok: levels are this process's own, Redis is away.

    `slots_in_use` and `holds` are null for a key without a limit on concurrent requests.
    """

    key: str
    plan: str
    store_state: str
    limits: list[Level]
    slots_in_use: int | None
    holds: list[HoldShown] | None


def limits_router(
    fleet: FleetState, issuer: Issuer | None, limiter: Limiter, admin_key: SecretStr | None
) -> APIRouter:
    """For keys of the file and for issued ones; for `anonymous` where everybody may call."""
    router = admin_router(admin_key)

    async def caller_of(name: str) -> Caller:
        keys = fleet.catalog.keys
        if (caller := keys.of_file().get(name)) is not None:
            return caller
        if keys.anonymous is not None and name == keys.anonymous.name:
            return keys.anonymous
        issued = None if issuer is None else await issuer.key(name)
        if issued is None:
            raise KeyNotFound(f'there is no key "{name}"')
        return issued.caller

    @router.get("/limits/{key:path}", summary="What a key has left of its limits")
    async def show_limits(key: str) -> LevelsShown:
        caller = await caller_of(key)
        store, buckets = limiter.store, limiter.buckets_of(caller)
        lacks = await store.lacks(buckets) if buckets else ()
        levels = [_level(bucket, lack) for bucket, lack in zip(buckets, lacks, strict=True)]
        slots = next((bucket for bucket in buckets if bucket.is_slots), None)
        holds = None
        if slots is not None:
            holds = [
                HoldShown(process=one.process, hold=one.number, lease_s=one.lease_s)
                for one in await store.holds(slots)
            ]
        return LevelsShown(
            key=caller.name,
            plan=caller.plan.name,
            store_state=store.state.value,
            limits=levels,
            slots_in_use=None if holds is None else len(holds),
            holds=holds,
        )

    return router


def _level(bucket: Bucket, lack: float) -> Level:
    """`lack` as a store tells it."""
    return Level(
        rule=bucket.rule,
        limit=bucket.limit,
        burst=bucket.burst,
        left=left(bucket, lack),
        reset_s=None if bucket.is_slots else round(lack / 1e6, 3),
    )
