"""`GET /tgi/{model}/info`: what TGI says of the model that it serves, as TGI says it."""

import random
from collections.abc import Iterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.keys import Caller
from gateway.engines.openai import fixed_headers
from gateway.errors import EngineFault, GatewayError, InvalidRequest, NoReplica
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.proxy.upstream.protocol import Upstream
from gateway.routing.asking import Asking
from gateway.routing.resolve import resolve
from gateway.wire.error_body import error_headers
from gateway.wire.http import UpstreamRequest
from gateway.wire.tgi_error_body import tgi_error_body

_MAX_INFO_BYTES = 64 * 1024
_WAIT_S = 5.0


def tgi_info_router(fleet: FleetState, upstream: Upstream, rng: random.Random) -> APIRouter:
    """Asks the engine; a replica that does not answer is passed over for the next."""
    router = APIRouter(prefix="/tgi", tags=["text generation inference"])

    @router.get("/{model:path}/info", summary="TGI's description of a model")
    async def info(model: str, request: Request) -> Response:
        given = request.headers.get("authorization")
        try:
            caller = fleet.catalog.keys.caller(None if given is None else given.encode("latin-1"))
            body = await _first_info(_replicas(fleet, model, caller, rng), upstream)
        except GatewayError as error:
            told = {name.decode(): value.decode() for name, value in error_headers(error)}
            body, status = tgi_error_body(error), error.status
            return Response(body, status, headers=told, media_type="application/json")
        return Response(body, media_type="application/json")

    return router


def _replicas(
    fleet: FleetState, model: str, caller: Caller, rng: random.Random
) -> Iterator[ReplicaState]:
    route = resolve(fleet.catalog, model, Asking(caller.plan, rng)).route
    variants = [variant for variant in route if variant.engine == "tgi"]
    if not variants:
        raise InvalidRequest(f'model "{model}" is not served by TGI', param="model")
    for variant in variants:
        yield from fleet.candidates(variant, (), only_usable=True)


async def _first_info(replicas: Iterator[ReplicaState], upstream: Upstream) -> bytes:
    failure: GatewayError = NoReplica("no replica can take this call now")
    for state in replicas:
        request = UpstreamRequest("GET", "/info", fixed=fixed_headers(state.variant.api_key))
        try:
            answer = await upstream.send(
                state.replica.origin, request, connect_s=_WAIT_S, first_byte_s=_WAIT_S
            )
            try:
                if answer.status == 200:
                    return await answer.read(_MAX_INFO_BYTES)
                failure = EngineFault("the engine failed to answer")
            finally:
                answer.close()
        except GatewayError as error:
            failure = error
    raise failure
