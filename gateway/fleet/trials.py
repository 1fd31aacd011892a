"""Try ejected replicas out with a request of our own, before one of a client's is risked.

An engine that hung may hang still, and its `/health` does not tell. So the first request after
an ejection is ours: one token. When it fails, or takes too long, no client has waited for it.
What the engine refuses (no completions, no such model) says nothing: a client's request decides.
"""

import logging
from collections.abc import Mapping

import anyio
import httpx

from gateway.clock import Clock
from gateway.engines.adapter import EngineAdapter, Served
from gateway.errors import GatewayError
from gateway.fleet.health import Sign, sign_of
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.wire.ask import Operation, read_ask

log = logging.getLogger(__name__)

_LONGEST_S = 10.0
_MAX_BODY_BYTES = 256 * 1024
TRIAL = read_ask(b'{"model":"","prompt":"Hi","max_tokens":1}', Operation.COMPLETION, model="")
_REQUEST_ID = "trial"


class Trials:
    """Runs the trials of the replicas whose ejection is over, each at most once at a time."""

    def __init__(
        self,
        fleet: FleetState,
        engines: Mapping[str, EngineAdapter],
        clients: ProbeClients,
        clock: Clock,
    ) -> None:
        self._fleet = fleet
        self._engines = engines
        self._clients = clients
        self._clock = clock
        self._running: set[ReplicaState] = set()

    async def run(self, state: ReplicaState) -> None:
        """Try one replica out, and tell the fleet."""
        if state in self._running:
            return
        self._running.add(state)
        try:
            sign = await self._sign(state)
        finally:
            self._running.discard(state)
        self._fleet.tested(state, sign, self._clock.now_s())

    async def _sign(self, state: ReplicaState) -> Sign | None:
        """What speaks against the replica; None: nothing does."""
        try:
            with anyio.fail_after(min(_LONGEST_S, state.variant.timeouts.first_byte_s)):
                failure = await self._failure(state)
        except TimeoutError:
            return Sign.TIMEOUT
        except (httpx.HTTPError, OSError, ValueError):
            return Sign.FAILURE
        except Exception:
            # an adapter's own fault is no reason to keep a replica out
            log.exception(F.BUG, extra={F.VARIANT: state.variant.name, F.REPLICA: state.name})
            return None
        sign = None if failure is None else sign_of(failure)
        return None if sign is Sign.MISCONFIGURED else sign

    async def _failure(self, state: ReplicaState) -> GatewayError | None:
        variant = state.variant
        adapter = self._engines[variant.engine]
        if Operation.COMPLETION not in adapter.operations:
            return None
        served = Served(variant.served_model, variant.api_key)
        request = adapter.prepare(TRIAL, served, _REQUEST_ID)
        client = self._clients.trusting(state.replica.origin.ca_file)
        async with client.stream(
            request.method,
            state.replica.url + request.path,
            headers=[*request.fixed, *request.headers],
            content=request.body,
            timeout=_LONGEST_S,
        ) as response:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_BODY_BYTES:
                    break
        if response.is_success:
            return None
        return adapter.refusal(response.status_code, bytes(body), None)
