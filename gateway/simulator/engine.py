"""A simulated engine: a scheduler that runs in real time behind a server that speaks its API."""

import json
import random
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict

from gateway.clock import Clock
from gateway.simulator.answers import Speaker
from gateway.simulator.faults import HEADER, Fault, FaultBox, Injection, read_fault
from gateway.simulator.generation import Generation, Step
from gateway.simulator.options import EngineOptions
from gateway.simulator.scheduler import Scheduler, Work
from gateway.simulator.server import Request, Wire

_KEPT_REQUESTS = 1000


@dataclass(slots=True)
class Seen:
    """One request as the engine saw it.

    `outcome`: open, answered, refused with its status, client_left or fault.
    """

    path: str
    headers: Mapping[str, str]
    body: Any
    outcome: str = "open"

    def end(self, outcome: str) -> None:
        """The first end is the true one: a reset of ours looks like a client that left, too."""
        if self.outcome == "open":
            self.outcome = outcome


class _Wanted(BaseModel):
    """The body of `POST /simulate/faults`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    fault: str
    count: int | None = None
    for_s: float | None = None
    probability: float = 1.0


@dataclass(slots=True)
class Counts:
    """What the engine's metrics count."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    finished: dict[str, int] = field(default_factory=dict)
    rejected: int = 0


class SimulatedEngine:
    """Its `url`, what it has seen, and the levers of a test."""

    def __init__(self, options: EngineOptions, clock: Clock, rng: random.Random) -> None:
        self.options = options
        self.scheduler = Scheduler(options)
        self.requests: deque[Seen] = deque(maxlen=_KEPT_REQUESTS)
        self.counts = Counts()
        self.url = ""
        self.adapters: dict[str, str] = {}
        self.is_draining = False
        self.is_loading = False
        self.is_asleep = False
        self._clock = clock
        self._rng = rng
        self._faults = FaultBox()
        self._generations: dict[int, Generation] = {}
        self._wake = anyio.Event()
        self._idle = anyio.Event()

    def inject(
        self,
        fault: str,
        *,
        count: int | None = None,
        for_s: float | None = None,
        probability: float = 1.0,
    ) -> None:
        """Let a fault happen to coming requests. Raises ValueError for what makes no sense."""
        if count is not None and count < 1:
            raise ValueError(f"count must be 1 or more, not {count!r}")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {probability!r}")
        until_s = None if for_s is None else self._clock.now_s() + for_s
        self._faults.inject(Injection(read_fault(fault), count, until_s, probability))

    def clear_faults(self) -> None:
        self._faults.clear()

    def fault_for(self, request: Request) -> Fault | None:
        """The fault that this request meets. Raises ValueError for an unknown one."""
        asked = request.headers.get(HEADER)
        if asked:
            return read_fault(asked)
        return self._faults.draw(self._clock.now_s(), self._rng.random())

    def injections(self) -> list[dict[str, object]]:
        """The injections in force."""
        return [
            {"fault": i.fault.name, "value": i.fault.value, "count": i.count}
            for i in self._faults.injections
        ]

    def unix_s(self) -> int:
        """Seconds since 1970."""
        return int(self._clock.unix_s())

    def begin(
        self, prompt: tuple[int, ...], max_tokens: int, stops: tuple[str, ...], choice: int = 0
    ) -> Generation | None:
        """Queue a request; None when the queue is full. `choice` tells the answers of n apart."""
        work = Work(prompt, max_tokens)
        if not self.scheduler.add(work):
            self.counts.rejected += 1
            return None
        seed = self.options.seed + choice
        speaker = Speaker(prompt, seed=seed, unicode=self.options.unicode)
        holds_always = self.options.engine == "vllm"
        generation = Generation(work, speaker, stops, holds_always=holds_always)
        self._generations[id(work)] = generation
        self._wake.set()
        return generation

    def finish(self, generation: Generation, reason: str | None) -> None:
        """The request is over; `reason` None when its client left. Idempotent."""
        if self._generations.pop(id(generation.work), None) is None:
            return
        if not self._generations:
            self._idle.set()
        self.scheduler.remove(generation.work)
        self.counts.prompt_tokens += len(generation.work.prompt)
        self.counts.generated_tokens += generation.work.produced
        if reason is not None:
            self.counts.finished[reason] = self.counts.finished.get(reason, 0) + 1

    def abort_all(self) -> None:
        """What vLLM does at SIGTERM: every running answer ends at once, as `abort`."""
        for generation in list(self._generations.values()):
            generation.abort()
            self.scheduler.remove(generation.work)

    @property
    def is_busy(self) -> bool:
        """Whether any answer is not told to its end."""
        return bool(self._generations)

    async def idle(self) -> None:
        """Wait until every answer is told to its end."""
        while self._generations:
            self._idle = anyio.Event()
            await self._idle.wait()

    def steps(self, generation: Generation, fault: Fault | None) -> AsyncIterator[Step]:
        """A generation's tokens in their time, or as many times slower as the fault says."""
        if fault is None or fault.name != "slow":
            return generation.steps()
        return self._slow_steps(generation, fault.number)

    async def _slow_steps(self, generation: Generation, factor: int) -> AsyncIterator[Step]:
        options, work = self.options, generation.work
        pause_s = factor * options.prefill_s_per_token * len(work.prompt)
        async for step in generation.steps():
            batch = max(1, len(self.scheduler.running))
            pause_s += factor * (options.inter_token_s + options.inter_token_s_per_running * batch)
            await anyio.sleep(pause_s)
            yield step
            pause_s = 0.0

    async def run(self) -> None:
        """Step forever."""
        while True:
            step_s = self.scheduler.start_step()
            if step_s is None:
                self._wake = anyio.Event()
                await self._wake.wait()
                continue
            await anyio.sleep(step_s)
            for work in self.scheduler.finish_step():
                generation = self._generations.get(id(work))
                if generation is not None:
                    generation.produce()
                    if generation.is_over:  # its client may read on for long
                        self.scheduler.remove(work)

    async def answer_admin(self, request: Request, wire: Wire) -> None:
        """`/simulate/...`: faults in, requests out."""
        match (request.method, request.path):
            case ("POST", "/simulate/faults"):
                try:
                    given = _Wanted.model_validate_json(request.body)
                    self.inject(
                        given.fault,
                        count=given.count,
                        for_s=given.for_s,
                        probability=given.probability,
                    )
                except ValueError as exc:
                    _json(wire, 400, {"error": str(exc)})
                else:
                    _json(wire, 200, {"faults": self.injections()})
            case ("GET", "/simulate/faults"):
                _json(wire, 200, {"faults": self.injections()})
            case ("DELETE", "/simulate/faults"):
                self.clear_faults()
                _json(wire, 200, {"faults": []})
            case ("GET", "/simulate/requests"):
                seen = [
                    {"path": s.path, "headers": s.headers, "body": s.body, "outcome": s.outcome}
                    for s in self.requests
                ]
                _json(wire, 200, {"requests": seen})
            case _:
                _json(wire, 404, {"error": "known: /simulate/faults, /simulate/requests"})


def _json(wire: Wire, status: int, value: object) -> None:
    body = json.dumps(value).encode()
    wire.head(status, {"content-type": "application/json"}, len(body))
    wire.piece(body)
    wire.end()
