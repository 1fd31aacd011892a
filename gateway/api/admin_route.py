"""`/admin/route`: where a call would go now, and what speaks for and against each replica."""

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, SecretStr

from gateway.api.admin import admin_router
from gateway.auth.keys import Plan
from gateway.errors import InvalidRequest
from gateway.fleet.state import FleetState
from gateway.proxy.choosing import Choosing, Weighed
from gateway.routing.asking import Asking
from gateway.routing.policy import RoutingPolicy
from gateway.routing.resolve import Route, resolve
from gateway.routing.spill import by_excess
from gateway.routing.told import choices
from gateway.wire.ask import Ask, Operation, read_ask
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


class Who(BaseModel):
    """Of whom it is asked: the query of both."""

    model: str
    session: str | None = None
    caller: str = ""
    plan: str | None = None
    min_bits: Annotated[float, Query(ge=0, le=64)] = 0


def route_router(
    fleet: FleetState,
    policies: Mapping[str, RoutingPolicy],
    choosing: Choosing,
    admin_key: SecretStr | None,
) -> APIRouter:
    """`GET` for any call to a model, `POST` for one with this prompt."""
    router = admin_router(admin_key)

    def shown(who: Who, body: Asked | None) -> dict[str, object]:
        plan = _EVERYTHING if who.plan is None else fleet.catalog.plans.get(who.plan)
        if plan is None:
            raise InvalidRequest(f'there is no plan "{who.plan}"', param="plan")
        ask, header = _ask(body), None if who.session is None else who.session.encode()
        rng = random.Random(_FIRST_DRAW)
        asking = Asking(plan, rng, who.caller, who.min_bits, ask, header)
        resolved = resolve(fleet.catalog, who.model, asking)
        weighed = choosing.weighed(resolved, plan.name)
        route = by_excess(resolved.route, [one.excess for one in weighed])
        prefix = _prefix(body, ask, header, route)
        found = choices(fleet, policies, route, prefix)
        return {
            "model": who.model,
            "reason": choosing.why(resolved, route[0]),
            "variants": [_variant(one) for one in weighed],
            "prompt_blocks": len(prefix.blocks),
            "choices": [asdict(choice) for choice in found],
        }

    @router.get("/route", summary="Where a call to a model would go now, with the scores")
    async def of_model(who: Annotated[Who, Query()]) -> dict[str, object]:
        return shown(who, None)

    @router.post("/route", summary="Where a chat with this prompt would go now, with the scores")
    async def of_prompt(who: Annotated[Who, Query()], body: Asked) -> dict[str, object]:
        return shown(who, body)

    return router


def _ask(body: Asked | None) -> Ask:
    text = (body or Asked(messages=[])).model_dump_json(exclude_none=True).encode()
    return read_ask(text, Operation.CHAT, model="any")


def _prefix(body: Asked | None, ask: Ask, header: bytes | None, route: Route) -> Prefix:
    if body is None and header is None:
        return NO_PREFIX
    return prefix_of(ask, session_of(ask, header, route[0].session))


def _variant(one: Weighed) -> dict[str, object]:
    """What `spill` sees of a variant; without `excess` where it cannot answer."""
    told: dict[str, object] = {"variant": one.variant.name, "usable": one.strain.is_usable}
    if one.strain.is_usable:
        told |= {
            "in_line": one.strain.in_line,
            "ttft_s": None if one.strain.ttft_s is None else round(one.strain.ttft_s, 3),
            "excess": round(one.excess, 3),
        }
    return told
