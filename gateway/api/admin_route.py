"""`/admin/route`: where a call would go now, and what speaks for and against each replica."""

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, SecretStr

from gateway.api.admin import admin_router
from gateway.auth.keys import Plan
from gateway.fleet.state import FleetState
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import Route, resolve
from gateway.routing.told import choices
from gateway.wire.ask import Operation, read_ask
from gateway.wire.prefix import NO_PREFIX, Prefix, prefix_of, session_of

_EVERYTHING = Plan("everything", ("*",))
# which variant is first may be drawn by weight: the answer must not differ from call to call
_FIRST_DRAW = 0


class Asked(BaseModel):
    """A chat request, as far as routing cares; other fields are passed over."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    cache_salt: str | None = None
    prompt_cache_key: str | None = None
    user: str | None = None


def route_router(
    fleet: FleetState, policies: Mapping[str, RoutingPolicy], admin_key: SecretStr | None
) -> APIRouter:
    """`GET` for any call to a model, `POST` for one with this prompt."""
    router = admin_router(admin_key)

    def shown(model: str, body: Asked | None, session: str | None) -> dict[str, object]:
        route = resolve(fleet.catalog, model, _EVERYTHING, random.Random(_FIRST_DRAW))
        prefix = _prefix(body, session, route)
        found = choices(fleet, policies, route, prefix)
        return {
            "model": model,
            "prompt_blocks": len(prefix.blocks),
            "choices": [asdict(choice) for choice in found],
        }

    @router.get("/route", summary="Where a call to a model would go now, with the scores")
    async def of_model(
        model: Annotated[str, Query()], session: Annotated[str | None, Query()] = None
    ) -> dict[str, object]:
        return shown(model, None, session)

    @router.post("/route", summary="Where a chat with this prompt would go now, with the scores")
    async def of_prompt(
        model: Annotated[str, Query()],
        body: Asked,
        session: Annotated[str | None, Query()] = None,
    ) -> dict[str, object]:
        return shown(model, body, session)

    return router


def _prefix(body: Asked | None, session: str | None, route: Route) -> Prefix:
    header = None if session is None else session.encode()
    if body is None:
        if header is None:
            return NO_PREFIX
        body = Asked(messages=[])
    text = body.model_dump_json(exclude_none=True).encode()
    ask = read_ask(text, Operation.CHAT, model="any")
    return prefix_of(ask, session_of(ask, header, route[0].session))
