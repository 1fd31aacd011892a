"""`/admin/mirror`: the last answers of shadows beside those that the clients got."""

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import SecretStr

from gateway.api.admin import admin_router
from gateway.proxy.mirror.comparison import Comparisons


def mirror_router(comparisons: Comparisons, admin_key: SecretStr | None) -> APIRouter:
    """Without prompts, and without answers unless content is recorded."""
    router = admin_router(admin_key)

    @router.get(
        "/mirror",
        summary="Answers of shadows compared with the clients', the last of the worker that is "
        "asked, the newest first",
    )
    async def show_comparisons() -> dict[str, Any]:
        return {"comparisons": [msgspec.to_builtins(one) for one in comparisons]}

    return router
