"""One process of the gateway in a rehearsal: the real fleet state and policy, and a body to read.

No I/O.
"""

import random
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from gateway.config.document import Document
from gateway.engines.adapter import Load
from gateway.experiment.passage import Passage
from gateway.experiment.workload import Turn
from gateway.fleet.compiling import compile_catalog
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.routing import POLICIES
from gateway.routing.policy import RoutingPolicy
from gateway.simulator.scheduler import Scheduler
from gateway.wire.ask import Operation, read_ask
from gateway.wire.prefix import NO_PREFIX, prefix_of

MODEL = "simulated"


class Place:
    """A request's place on a replica, by its number."""

    __slots__ = ("_lease", "replica")

    def __init__(self, replica: int, lease: Lease) -> None:
        self.replica = replica
        self._lease = lease

    def began(self) -> None:
        """The first token is there."""
        self._lease.began()

    def release(self) -> None:
        """The answer is complete."""
        self._lease.release()


class Front:
    """One of `processes` of the gateway, which route by a policy to so many replicas."""

    def __init__(
        self, policy: RoutingPolicy, replicas: int, rng: random.Random, processes: int = 1
    ) -> None:
        self._policy = policy
        self._rng = rng
        urls = [{"url": f"http://10.0.0.{number}:8000"} for number in range(replicas)]
        model = {"name": MODEL, "engine": "vllm", "replicas": urls}
        document = Document.model_validate({"models": [model]})
        catalog = compile_catalog(document, {}, policies=POLICIES)
        self._fleet = FleetState(catalog, processes=processes)
        self._states = list(self._fleet)
        self._numbers = {state.name: number for number, state in enumerate(self._states)}
        (self._variant,) = self._fleet.catalog.models[MODEL].variants

    def place(self, turn: Turn) -> Place:
        """Pick a replica for a call, and take a place on it."""
        prefix = NO_PREFIX
        if self._policy.reads_prefix:
            prefix = prefix_of(read_ask(body_of(turn.prompt), Operation.CHAT))
        states = self._fleet.candidates(self._variant, (), only_usable=True)
        state = self._policy.pick(states, prefix, self._rng)
        return Place(self._numbers[state.name], Lease(state, prefix))

    def scraped(self, replica: int, engine: Scheduler, now_s: float) -> None:
        """What the engine's metrics say."""
        load = Load(
            running=float(len(engine.running)),
            waiting=float(len(engine.waiting)),
            kv_cache_used_ratio=engine.cache.used_ratio,
            kv_cache_tokens=engine.cache.capacity * 16,
        )
        self._fleet.probed(self._states[replica], Condition.READY, load, now_s)


def body_of(prompt: Sequence[Passage], **more: object) -> bytes:
    """The request as a client sends it."""
    messages = msgspec.Raw(b"[" + b",".join(map(_message, prompt)) + b"]")
    return msgspec.json.encode({"model": MODEL, "messages": messages, **more})


@lru_cache(maxsize=4096)
def _message(one: Passage) -> bytes:
    message = {"role": one.role, "content": one.text}
    if one.role == "tool":
        message["tool_call_id"] = "call_1"  # some routers refuse a message without
    return msgspec.json.encode(message)
