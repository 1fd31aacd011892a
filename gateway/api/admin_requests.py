"""`/admin/requests`: what became of recent calls, try by try, and where their time went.

What each worker remembers is bounded; all workers are asked at once, since they share it.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field, SecretStr

from gateway.api.admin import admin_router
from gateway.config.base import Section
from gateway.errors import InvalidRequest, RequestNotFound
from gateway.telemetry.recent import Kept, Recent
from gateway.telemetry.told_story import Parts, StoryTold, TryTold, parts_of

_MAX_SHOWN = 1000
_SANE_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_lines = msgspec.json.Decoder(dict[str, Any])
_stories = msgspec.json.Decoder(StoryTold)


class Wanted(Section):
    """Which calls: `slowest` first instead of the newest, and only those with this outcome."""

    limit: Annotated[int, Field(ge=1, le=_MAX_SHOWN)] = 50
    order: Literal["newest", "slowest"] = "newest"
    outcome: str | None = None
    model: str | None = None
    caller: str | None = None


def requests_router(recent: Recent | None, admin_key: SecretStr | None) -> APIRouter:
    """`recent` None: no call is remembered."""
    router = admin_router(admin_key)

    @router.get("/requests", summary="Recent calls, the newest or the slowest first")
    async def show_recent(given: Annotated[Wanted, Query()]) -> dict[str, object]:
        shown = [one for one in map(_line, recent or ()) if _is_wanted(one, given)]
        shown.sort(key=lambda one: one["duration_ms" if given.order == "slowest" else "time"])
        return {"requests": shown[: -given.limit - 1 : -1]}

    @router.get(
        "/requests/{request_id}",
        summary="The story of a recent call: every try, and where the time went",
    )
    async def show_request(request_id: str) -> dict[str, object]:
        if not _SANE_ID.fullmatch(request_id):
            raise InvalidRequest("this is no id of a request: it is the answer's `x-request-id`")
        found = [] if recent is None else recent.find(request_id)
        if not found:
            raise RequestNotFound(
                "no recent request has this id; each worker remembers the last "
                "`telemetry.recent_requests` that ended"
            )
        return {"requests": _newest_first(map(_story, found))}

    return router


def _newest_first(calls: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(calls, key=lambda one: one["time"], reverse=True)


def _is_wanted(line: dict[str, Any], given: Wanted) -> bool:
    return all(
        wanted is None or line.get(name) == wanted
        for name, wanted in (
            ("outcome", given.outcome),
            ("model", given.model),
            ("caller", given.caller),
        )
    )


def _line(kept: Kept) -> dict[str, Any]:
    """What the log says of a call."""
    line = _lines.decode(kept.line)
    return {name: value for name, value in line.items() if name not in ("level", "event")}


def _story(kept: Kept) -> dict[str, Any]:
    line, told = _line(kept), _stories.decode(kept.told)
    parts = parts_of(told, stream=line["stream"], duration_ms=line["duration_ms"])
    return {
        **line,
        "parts": {k: v for k, v in msgspec.structs.asdict(parts).items() if v is not None},
        "longest": _longest(parts),
        "tries": [_try(one) for one in told.tries],
        "tries_left_out": told.left_out,
    }


def _try(one: TryTold) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(one)
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in shown.items()}


def _longest(parts: Parts) -> str:
    """The part that took most of the time."""
    times = {name: getattr(parts, name) or 0.0 for name in parts.__struct_fields__}
    return max(times, key=lambda name: times[name]).removesuffix("_ms")
