"""`/admin/keys`: keys that are made, rotated, disabled and deleted at run time.

Keys of the configuration file are shown beside them, and can only be changed there.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from gateway.api.admin import RequestId, admin_router
from gateway.auth.issued import KeyName, Standing, State
from gateway.auth.issuer import Issuer
from gateway.auth.keys import Caller
from gateway.clock import Clock
from gateway.config.access import NO_LIMITS, RATES, Name, Rates
from gateway.config.base import Number, Section
from gateway.errors import KeyConflict, KeyNotFound
from gateway.fleet.state import FleetState

DAY_S = 86400


class NewKey(Section):
    """What `POST /admin/keys` takes."""

    name: KeyName
    plan: Name = "default"
    limits: Rates = NO_LIMITS


class Rotation(Section):
    """What a rotation takes; `grace_s`: how long the old secret is good yet."""

    grace_s: Annotated[float, Field(ge=0, le=30 * DAY_S), Number] = DAY_S


class KeyShown(BaseModel):
    """A key. Moments are seconds since 1970; what only the file knows is null.

    `limits` is what holds for it; `own_limits` what it has in place of its plan's.
    """

    name: str
    source: Literal["file", "redis"]
    plan: str
    state: State
    limits: dict[str, Any]
    own_limits: dict[str, Any] | None = None
    created_unix_s: float | None = None
    changed_unix_s: float | None = None
    old_secret_ends_unix_s: float | None = None


class KeyWithSecret(KeyShown):
    """A key with its new secret, which is shown this once."""

    secret: str


class KeyList(BaseModel):
    """All keys."""

    keys: list[KeyShown]


def keys_router(
    fleet: FleetState, issuer: Issuer | None, clock: Clock, admin_key: SecretStr | None
) -> APIRouter:
    """`issuer` None: keys can only be in the file."""
    router = admin_router(admin_key)
    _add_changes(router, issuer, clock)
    _add_views(router, fleet, issuer, clock)
    return router


def _add_changes(router: APIRouter, issuer: Issuer | None, clock: Clock) -> None:
    def made_here() -> Issuer:
        if issuer is None:
            raise KeyConflict(
                "keys can only be made where they can be kept: set `limits.store: redis`"
            )
        return issuer

    @router.post("/keys", summary="Make a key; its secret is shown this once", status_code=201)
    async def create(given: NewKey, request_id: RequestId) -> KeyWithSecret:
        made, secret = await made_here().create(given.name, given.plan, given.limits, request_id)
        return _with_secret(_shown(made, clock), secret)

    @router.post("/keys/{name:path}/rotate", summary="Give a key a new secret")
    async def rotate(
        name: str, request_id: RequestId, given: Rotation | None = None
    ) -> KeyWithSecret:
        grace_s = (given or Rotation()).grace_s
        changed, secret = await made_here().rotate(name, grace_s, request_id)
        return _with_secret(_shown(changed, clock), secret)

    @router.post("/keys/{name:path}/disable", summary="Refuse calls with this key")
    async def disable(name: str, request_id: RequestId) -> KeyShown:
        return _shown(await made_here().switch(name, request_id, is_disabled=True), clock)

    @router.post("/keys/{name:path}/enable", summary="Take calls with this key again")
    async def enable(name: str, request_id: RequestId) -> KeyShown:
        return _shown(await made_here().switch(name, request_id, is_disabled=False), clock)

    @router.delete("/keys/{name:path}", summary="Delete a key; the answer is what it was")
    async def delete(name: str, request_id: RequestId) -> KeyShown:
        return _shown(await made_here().delete(name, request_id), clock)


def _add_views(router: APIRouter, fleet: FleetState, issuer: Issuer | None, clock: Clock) -> None:
    @router.get("/keys", summary="Every key: of the configuration file, and made at run time")
    async def list_keys() -> KeyList:
        issued = () if issuer is None else await issuer.keys()
        of_file = fleet.catalog.keys.of_file().values()
        return KeyList(keys=[*map(_of_file, of_file), *(_shown(one, clock) for one in issued)])

    @router.get("/keys/{name:path}", summary="One key")
    async def show_key(name: str) -> KeyShown:
        if (caller := fleet.catalog.keys.of_file().get(name)) is not None:
            return _of_file(caller)
        issued = None if issuer is None else await issuer.key(name)
        if issued is None:
            raise KeyNotFound(f'there is no key "{name}"')
        return _shown(issued, clock)


def _of_file(caller: Caller) -> KeyShown:
    return KeyShown(
        name=caller.name,
        source="file",
        plan=caller.plan.name,
        state="active",
        limits=_numbers(caller.rates),
    )


def _shown(one: Standing, clock: Clock) -> KeyShown:
    key = one.key
    return KeyShown(
        name=key.name,
        source="redis",
        plan=key.plan,
        state=one.state,
        limits=_numbers(one.caller.rates),
        own_limits=key.limits.model_dump(exclude_unset=True),
        created_unix_s=key.created_unix_s,
        changed_unix_s=key.changed_unix_s,
        old_secret_ends_unix_s=key.old_secret_ends(clock.unix_s()),
    )


def _with_secret(key: KeyShown, secret: str) -> KeyWithSecret:
    return KeyWithSecret(**key.model_dump(), secret=secret)


def _numbers(rates: Rates) -> dict[str, Any]:
    """The limits that there are."""
    numbers = rates.model_dump(include={*RATES, "burst"}, exclude_none=True)
    return {name: given for name, given in numbers.items() if given}
