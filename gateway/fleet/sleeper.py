"""Wake vLLMs that sleep when calls want them, and put those to sleep that have nothing to do.

Every gateway process does this, with nothing shared: the engine is what they agree on. Idle is
what the engine has counted nothing in, for anybody; `mode=wait` lets what runs be finished; and
a request that reaches an engine as it falls asleep waits there until the process that sent it
sees both, and wakes it. Asking twice for either does nothing.

Source: vLLM 0.32, `entrypoints/serve/dev/sleep`; needs `--enable-sleep-mode` and the variable
`VLLM_SERVER_DEV_MODE=1`.
"""

import logging
from collections.abc import Callable
from typing import Final

import anyio
import httpx

from gateway.clock import Clock
from gateway.fleet.health import Condition
from gateway.fleet.idleness import Idleness
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.prober import Prober
from gateway.fleet.replica_state import ReplicaState
from gateway.fleet.state import FleetState
from gateway.fleet.waking import Wanted
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names

log = logging.getLogger(__name__)

SLEEP: Final = "/sleep?level=1&mode=wait"
WAKE: Final = "/wake_up"
_LOOK_EVERY_S: Final = 0.25
_AGAIN_S: Final = 5.0
_SLEEP_S: Final = 60.0


class Sleeper:
    """`waiting`: how many calls wait for a variant, by its name."""

    def __init__(
        self,
        fleet: FleetState,
        waiting: Callable[[str], int],
        wanted: Wanted,
        prober: Prober,
        clients: ProbeClients,
        clock: Clock,
    ) -> None:
        self._fleet = fleet
        self._waiting = waiting
        self._wanted = wanted
        self._prober = prober
        self._clients = clients
        self._clock = clock
        self._idle: dict[ReplicaState, Idleness] = {}
        self._asleep_since_s: dict[ReplicaState, float] = {}
        self._told: set[ReplicaState] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                await anyio.sleep(_LOOK_EVERY_S)
                for state, path in self.due():
                    self._told.add(state)
                    group.start_soon(self._tell, state, path)

    def due(self) -> list[tuple[ReplicaState, str]]:
        """The engines that must be told something now, and what."""
        states = [one for one in self._fleet if _is_ours(one)]
        self._idle = {one: self._idle.get(one) or Idleness() for one in states}
        # replicas come and go: those that are gone are forgotten
        since_s = self._asleep_since_s
        self._asleep_since_s = {one: since_s[one] for one in states if one in since_s}
        found = []
        for state in states:
            path = self._due_for(state)
            if path is not None and state not in self._told:
                found.append((state, path))
        return found

    def _due_for(self, state: ReplicaState) -> str | None:
        name, wake, now_s = state.variant.name, state.variant.wake, self._clock.now_s()
        idle_s = self._idle[state].idle_s(state, now_s)
        if state.condition is Condition.ASLEEP:
            since_s = self._asleep_since_s.setdefault(state, now_s)
            is_wanted = self._wanted.last_s(name) > since_s
            return WAKE if is_wanted or state.in_flight or self._waiting(name) else None
        self._asleep_since_s.pop(state, None)
        if wake is None or wake.sleep_after_s is None or self._waiting(name):
            return None
        return SLEEP if idle_s >= wake.sleep_after_s else None

    async def _tell(self, state: ReplicaState, path: str) -> None:
        wake = state.variant.wake
        limit_s = _SLEEP_S if path == SLEEP or wake is None else wake.max_wait_s
        if path == SLEEP:
            self._fleet.put_to_sleep(state)  # at once: what comes now must wait and wake it
        try:
            why = await self._failure(state, path, limit_s)
            if why is not None:
                log.warning(F.SLEEP_MODE_FAILED, extra={**_named(state), F.REASON: why})
            await self._prober.probe(state)
            if why is not None:
                await anyio.sleep(_AGAIN_S)
        finally:
            self._told.discard(state)

    async def _failure(self, state: ReplicaState, path: str, limit_s: float) -> str | None:
        """Why the engine did not do it; None: it did."""
        key = state.variant.api_key
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        try:
            client = self._clients.trusting(state.replica.origin.ca_file)
            async with client.stream(
                "POST", state.replica.url + path, headers=headers, timeout=limit_s
            ) as answer:
                status = answer.status_code
        except (httpx.HTTPError, OSError) as exc:
            return type(exc).__name__
        if 200 <= status < 300:
            return None
        return f"status {status}" + (": needs VLLM_SERVER_DEV_MODE=1" if status == 404 else "")


def _is_ours(state: ReplicaState) -> bool:
    wake = state.variant.wake
    return wake is not None and wake.sleeps


def _named(state: ReplicaState) -> dict[str, str]:
    return {F.MODEL: state.variant.model, F.VARIANT: state.variant.name, F.REPLICA: state.name}
