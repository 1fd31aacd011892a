"""Ask every engine how it is, whether it has the model, and how loaded it is, at a steady pace.

Probes go through httpx: they are rare, and a second way to the engine notices when the first
one is at fault. A probe that fails says "unhealthy"; figures that cannot be read are unknown.
"""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import anyio
import httpx

from gateway.clock import Clock
from gateway.engines.adapter import EngineAdapter, Load, State
from gateway.fleet.discovery.endpoint import Standing
from gateway.fleet.health import Condition, Reason
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names

log = logging.getLogger(__name__)

_MAX_BODY_BYTES = 4 * 1024 * 1024
_CONCURRENT_PROBES = 32
# whatever a probe would say, they get nothing any more
_ENDING = (Standing.TERMINATING, Standing.GONE)
# conditions that have several causes: the cause as well
_MISCONFIGURED: Mapping[State, Reason] = MappingProxyType(
    {
        State.MODEL_MISSING: Reason.MODEL_MISSING,
        State.CREDENTIALS_REFUSED: Reason.CREDENTIALS_REFUSED,
    }
)


class Prober:
    """Keeps the fleet's health and load figures fresh."""

    def __init__(
        self,
        fleet: FleetState,
        engines: Mapping[str, EngineAdapter],
        clients: ProbeClients,
        clock: Clock,
        *,
        interval_s: float = 2.0,
        timeout_s: float = 2.0,
    ) -> None:
        self._fleet = fleet
        self._engines = engines
        self._clients = clients
        self._clock = clock
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        # TCP and TLS, each: when we give up before httpx does, it leaves the socket open
        self._patience = httpx.Timeout(timeout_s, connect=timeout_s * 0.4)
        self._slots = anyio.Semaphore(_CONCURRENT_PROBES)

    async def start(self) -> None:
        """Probe before the first call: who is away now shall not be asked."""
        await self.probe_all()
        if any(state.health.failures for state in self._fleet):
            await self.probe_all()  # one failure is forgiven, two are not

    async def run(self) -> None:
        """Probe forever, for the first time after an interval."""
        while True:
            await anyio.sleep(self._interval_s)
            await self.probe_all()

    async def probe_all(self) -> None:
        """One round over the whole fleet; takes about `timeout_s` at worst for small fleets."""
        await self.probe_each(
            [state for state in self._fleet if state.replica.standing not in _ENDING]
        )

    async def probe_each(self, states: Iterable[ReplicaState]) -> None:
        """These, now."""
        async with anyio.create_task_group() as group:
            for state in states:
                group.start_soon(self.probe, state)

    async def probe(self, state: ReplicaState) -> None:
        """One probe of one replica."""
        async with self._slots:
            adapter = self._engines[state.variant.engine]
            said, load = State.UNHEALTHY, Load()
            ours, turns = float(state.in_flight), state.turns
            is_unreachable = False
            try:
                with anyio.fail_after(self._timeout_s):
                    said = adapter.state(*await self._get(state, adapter.health_path))
                    if adapter.models_path is not None and said is State.READY:
                        answer = await self._get(state, adapter.models_path)
                        said = adapter.model_state(*answer, state.variant.served_model)
                        if state.variant.adapters and answer[0] == 200:
                            listed = adapter.listed_adapters(answer[1])
                            if listed is not None:
                                state.adapters.listed(listed)
                    if adapter.load_path is not None and said is State.READY:
                        load = adapter.load((await self._get(state, adapter.load_path))[1])
            except (httpx.ConnectError, httpx.ConnectTimeout):
                is_unreachable = True
            except (httpx.HTTPError, OSError, ValueError):  # a TimeoutError is an OSError
                pass  # what was learned until then counts
            except Exception:
                # an adapter's own fault costs what it knows of this replica, not the gateway
                log.exception(F.BUG, extra={F.VARIANT: state.variant.name, F.REPLICA: state.name})
            if load.asleep:
                said = State.ASLEEP
            reason = _MISCONFIGURED.get(said)
            seen = Condition(said.value) if reason is None else Condition.MISCONFIGURED
            if is_unreachable and state.variant.wake is not None:
                seen = Condition.AWAY
            # whatever of ours ran at some time of the probe may be among what the engine counted
            ours += (state.turns - turns) * state.weight
            self._fleet.probed(
                state,
                seen,
                load,
                self._clock.now_s(),
                reason,
                ours,
                is_unreachable=is_unreachable,
            )

    async def _get(self, state: ReplicaState, path: str) -> tuple[int, bytes]:
        headers = {}
        if state.variant.api_key is not None:
            headers["authorization"] = f"Bearer {state.variant.api_key}"
        client = self._clients.trusting(state.replica.origin.ca_file)
        async with client.stream(
            "GET", state.replica.url + path, headers=headers, timeout=self._patience
        ) as response:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_BODY_BYTES:
                    break
            return response.status_code, bytes(body)
