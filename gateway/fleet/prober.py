"""Ask every engine how it is and how loaded, at a steady pace.

Probes go through httpx: they are rare, and a second way to the engine notices when the first
one is at fault. A probe that fails says "unhealthy"; figures that cannot be read are unknown.
"""

import logging
from collections.abc import Mapping

import anyio
import httpx

from gateway.engines.adapter import EngineAdapter, Load
from gateway.fleet.health import Condition
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.state import FleetState, ReplicaState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_MAX_BODY_BYTES = 4 * 1024 * 1024
_CONCURRENT_PROBES = 32


class Prober:
    """Keeps the fleet's health and load figures fresh."""

    def __init__(
        self,
        fleet: FleetState,
        engines: Mapping[str, EngineAdapter],
        metrics: Metrics,
        clients: ProbeClients,
        *,
        interval_s: float = 2.0,
        timeout_s: float = 2.0,
    ) -> None:
        self._fleet = fleet
        self._engines = engines
        self._metrics = metrics
        self._clients = clients
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._slots = anyio.Semaphore(_CONCURRENT_PROBES)

    async def run(self) -> None:
        """Probe forever."""
        while True:
            await self.probe_all()
            await anyio.sleep(self._interval_s)

    async def probe_all(self) -> None:
        """One round over the whole fleet; takes about `timeout_s` at worst for small fleets."""
        async with anyio.create_task_group() as group:
            for state in list(self._fleet):
                group.start_soon(self._probe, state)

    async def _probe(self, state: ReplicaState) -> None:
        async with self._slots:
            adapter = self._engines[state.variant.engine]
            seen, load = Condition.UNHEALTHY, Load()
            try:
                with anyio.fail_after(self._timeout_s):
                    seen = await self._condition(state, adapter)
                    if adapter.load_path is not None and seen is Condition.READY:
                        load = adapter.load((await self._get(state, adapter.load_path))[1])
            except (httpx.HTTPError, OSError, ValueError):  # a TimeoutError is an OSError
                pass  # what was learned until then counts
            except Exception:
                # an adapter's own fault costs what it knows of this replica, not the gateway
                log.exception(F.BUG, extra={F.VARIANT: state.variant.name, F.REPLICA: state.name})
            if load.asleep:
                seen = Condition.ASLEEP
            self._record(state, seen, load)

    async def _condition(self, state: ReplicaState, adapter: EngineAdapter) -> Condition:
        status, body = await self._get(state, adapter.health_path)
        return Condition(adapter.state(status, body).value)

    async def _get(self, state: ReplicaState, path: str) -> tuple[int, bytes]:
        headers = {}
        if state.variant.api_key is not None:
            headers["authorization"] = f"Bearer {state.variant.api_key}"
        client = self._clients.trusting(state.replica.origin.ca_file)
        async with client.stream(
            "GET", state.replica.url + path, headers=headers, timeout=self._timeout_s
        ) as response:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_BODY_BYTES:
                    break
            return response.status_code, bytes(body)

    def _record(self, state: ReplicaState, seen: Condition, load: Load) -> None:
        if not self._fleet.probed(state, seen, load):
            return
        condition = state.health.condition
        variant = state.variant
        self._metrics.transitions.cell(
            variant.model, variant.name, state.name, condition.value
        ).add()
        level = logging.INFO if state.health.is_usable else logging.WARNING
        log.log(
            level,
            F.REPLICA_STATE,
            extra={
                F.MODEL: variant.model,
                F.VARIANT: variant.name,
                F.REPLICA: state.name,
                F.STATE: condition.value,
            },
        )
