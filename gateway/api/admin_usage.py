"""`GET /admin/usage`: what each key used of each model on each day, as JSON or CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field, SecretStr

from gateway.api.admin import admin_router
from gateway.clock import Clock
from gateway.config.base import Section
from gateway.errors import InvalidRequest
from gateway.limits.books import FIELDS
from gateway.limits.store import LimitStore, Usage

MAX_DAYS = 400
_USUAL_DAYS = 30

Day = Annotated[date, Field(ge=date(2020, 1, 1), le=date(2999, 12, 31))]


class Period(Section):
    """Which days, in UTC and both included, whose, and in which form."""

    first: Day | None = Field(None, alias="from")
    last: Day | None = Field(None, alias="to")
    key: str | None = None
    format: Literal["json", "csv"] = "json"


class UsageShown(BaseModel):
    """What one key used of one model on one day."""

    day: str
    key: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    requests: int
    errors: int


class UsageList(BaseModel):
    """The books of these days. `total` is the sum of the columns."""

    first: str = Field(serialization_alias="from")
    last: str = Field(serialization_alias="to")
    usage: list[UsageShown]
    total: dict[str, int]


def usage_router(store: LimitStore, clock: Clock, admin_key: SecretStr | None) -> APIRouter:
    """Keys that were deleted are still in the books."""
    router = admin_router(admin_key)

    @router.get("/usage", summary="Tokens and requests by day, key and model", response_model=None)
    async def usage(given: Annotated[Period, Query()]) -> Response:
        first, last = _days(given, clock.unix_s())
        found = await store.usage(first.isoformat(), last.isoformat(), given.key)
        if given.format == "csv":
            name = f"usage-{first}-{last}.csv"
            told = {"content-disposition": f'attachment; filename="{name}"'}
            return Response(as_csv(found), media_type="text/csv", headers=told)
        shown = UsageList(
            first=first.isoformat(),
            last=last.isoformat(),
            usage=[_shown(one) for one in found],
            total={name: sum(getattr(one, name) for one in found) for name in FIELDS},
        )
        return Response(shown.model_dump_json(by_alias=True), media_type="application/json")

    return router


def _days(given: Period, now_unix_s: float) -> tuple[date, date]:
    """By default the last thirty days. Raises InvalidRequest."""
    last = given.last or datetime.fromtimestamp(now_unix_s, UTC).date()
    first = given.first or last - timedelta(days=_USUAL_DAYS - 1)
    if first > last:
        raise InvalidRequest(f"from: {first} is after {last}", param="from")
    if (last - first).days >= MAX_DAYS:
        raise InvalidRequest(f"from: at most {MAX_DAYS} days at once", param="from")
    return first, last


def as_csv(entries: Sequence[Usage]) -> str:
    """A line for each, below one of headers."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("day", "key", "model", *FIELDS))
    for one in entries:
        amounts = (getattr(one, name) for name in FIELDS)
        rows.writerow((one.day, one.caller, one.model, *amounts))
    return text.getvalue()


def _shown(one: Usage) -> UsageShown:
    amounts = {name: getattr(one, name) for name in FIELDS}
    return UsageShown(day=one.day, key=one.caller, model=one.model, **amounts)
