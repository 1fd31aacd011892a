"""Has a replica load the adapter that a call asks for, before the call goes there.

One at a time on each replica: who comes while an adapter is being loaded waits for that. When a
replica has as many as it may have, those that nobody has asked for the longest are unloaded.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio

from gateway.engines.adapter import EngineAdapter, Served
from gateway.errors import AdapterNotLoaded, EngineMisconfigured, GatewayError
from gateway.fleet.loadable import Adapter
from gateway.fleet.replica_state import ReplicaState
from gateway.proxy.upstream.protocol import Upstream
from gateway.wire.http import UpstreamRequest

LOAD_S: Final = 60.0
_UNLOAD_S: Final = 5.0
_MAX_BODY_BYTES: Final = 64 * 1024
_THERE_ALREADY: Final = b"already been loaded"


class AdapterLoading:
    """Loads adapters on the replicas of one process."""

    def __init__(self, upstream: Upstream, engines: Mapping[str, EngineAdapter]) -> None:
        self._upstream = upstream
        self._engines = engines
        self._locks: dict[ReplicaState, anyio.Lock] = {}

    @asynccontextmanager
    async def ready(
        self, state: ReplicaState, adapter: Adapter, request_id: str
    ) -> AsyncIterator[None]:
        """The adapter is there until this is left. Raises AdapterNotLoaded, also for a try within.

        An engine that does not know the name has lost the adapter: that is told elsewhere.
        """
        state.adapters.begin(adapter.name)
        try:
            if not state.adapters.has(adapter.name):
                await self._load(state, adapter, request_id)
            try:
                yield
            except EngineMisconfigured as unknown:
                state.adapters.lost(adapter.name)
                raise AdapterNotLoaded("the engine does not have this adapter") from unknown
        finally:
            state.adapters.end(adapter.name)

    async def _load(self, state: ReplicaState, adapter: Adapter, request_id: str) -> None:
        lock = self._locks.setdefault(state, anyio.Lock())
        try:
            async with lock:
                if state.adapters.has(adapter.name):
                    return  # somebody else was faster
                if not state.adapters.may_load(adapter):
                    raise AdapterNotLoaded("this adapter could not be loaded here a moment ago")
                await self._load_now(state, adapter, request_id)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(state, None)

    async def _load_now(self, state: ReplicaState, adapter: Adapter, request_id: str) -> None:
        engine, variant = self._engines[state.variant.engine], state.variant
        served = Served(variant.served_model, variant.api_key)
        for name in state.adapters.spare(variant.max_adapters):
            if unload := engine.unload_adapter(name, served, request_id):
                await self._unload(state, name, unload)
        load = engine.load_adapter(adapter.name, adapter.path or "", served, request_id)
        if load is None:
            state.adapters.refused(adapter.name)
            raise AdapterNotLoaded("this engine cannot be told to load an adapter")
        try:
            with anyio.fail_after(LOAD_S):
                status, body = await self._ask(state, load, LOAD_S)
        except (GatewayError, TimeoutError) as failure:
            state.adapters.refused(adapter.name)
            raise AdapterNotLoaded("the engine did not load this adapter") from failure
        if status != 200 and not (status == 400 and _THERE_ALREADY in body):
            state.adapters.refused(adapter.name)
            raise AdapterNotLoaded(f"the engine did not load this adapter ({status})")
        state.adapters.loaded(adapter.name)

    async def _unload(self, state: ReplicaState, name: str, request: UpstreamRequest) -> None:
        """One that cannot be unloaded stays, and the next may still fit."""
        try:
            with anyio.fail_after(_UNLOAD_S):
                status, _ = await self._ask(state, request, _UNLOAD_S)
        except (GatewayError, TimeoutError):
            return
        if status in (200, 404):
            state.adapters.lost(name)

    async def _ask(
        self, state: ReplicaState, request: UpstreamRequest, wait_s: float
    ) -> tuple[int, bytes]:
        response = await self._upstream.send(
            state.replica.origin,
            request,
            connect_s=state.variant.timeouts.connect_s,
            first_byte_s=wait_s,
        )
        try:
            return response.status, await response.read(_MAX_BODY_BYTES)
        finally:
            response.close()
