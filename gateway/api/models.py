"""`GET /v1/models`: what this caller may use, every variant as `name:tag`."""

from collections.abc import Iterator

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from gateway.auth.keys import Caller
from gateway.errors import ModelNotFound
from gateway.fleet.catalog import Catalog
from gateway.fleet.state import FleetState


class ModelEntry(BaseModel):
    """OpenAI's model object. `parent`, where it is told: the model that an adapter adapts."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "sluicegate"
    parent: str | None = None


class ModelList(BaseModel):
    """OpenAI's list of them."""

    object: str = "list"
    data: list[ModelEntry]


def models_router(fleet: FleetState, created: int) -> APIRouter:
    """`created` is the time shown for every model, in seconds since 1970."""
    router = APIRouter(prefix="/v1", tags=["models"])

    def caller_of(request: Request) -> Caller:
        given = request.headers.get("authorization")
        return fleet.catalog.keys.caller(None if given is None else given.encode("latin-1"))

    def entry(name: str) -> ModelEntry:
        target = fleet.catalog.names[name]
        base = target.first.of
        parent = base and (base.model if target.variant is None else base.name)
        return ModelEntry(id=name, created=created, parent=parent)

    @router.get(
        "/models",
        summary="Models and variants this caller may use",
        response_model_exclude_none=True,
    )
    async def list_models(request: Request) -> ModelList:
        caller = caller_of(request)
        names = (name for name in listed(fleet.catalog) if caller.plan.allows(name))
        return ModelList(data=[entry(name) for name in names])

    @router.get("/models/{name:path}", summary="One model", response_model_exclude_none=True)
    async def get_model(name: str, request: Request) -> ModelEntry:
        caller = caller_of(request)
        if name not in fleet.catalog.names or not caller.plan.allows(name):
            raise ModelNotFound(f'model "{name}" does not exist here', param="model")
        return entry(name)

    return router


def listed(catalog: Catalog) -> Iterator[str]:
    """Every model, followed by its variants as `name:tag`."""
    for model in catalog.models.values():
        yield model.name
        yield from (variant.name for variant in model.variants if variant.name != model.name)
