"""`GET /admin/audit`: what was done to keys, the newest first."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, SecretStr

from gateway.api.admin import admin_router
from gateway.auth.issuer import Issuer
from gateway.config.base import Section


class Last(Section):
    """How much of it."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class AuditEntry(BaseModel):
    """A change. `detail` holds what was asked for; never a secret."""

    id: str
    time_unix_s: float
    action: str
    key: str
    request_id: str
    detail: dict[str, Any]


class AuditLog(BaseModel):
    """Changes, the newest first."""

    entries: list[AuditEntry]


def audit_router(issuer: Issuer | None, admin_key: SecretStr | None) -> APIRouter:
    """Without an `issuer` nothing is ever changed here."""
    router = admin_router(admin_key)

    @router.get("/audit", summary="The last changes of keys, the newest first")
    async def audit(given: Annotated[Last, Query()]) -> AuditLog:
        found = () if issuer is None else await issuer.audited(given.limit)
        return AuditLog(
            entries=[
                AuditEntry(
                    id=one.id,
                    time_unix_s=one.time_unix_s,
                    action=one.action,
                    key=one.key,
                    request_id=one.request_id,
                    detail=dict(one.detail),
                )
                for one in found
            ]
        )

    return router
