"""Discoveries whose findings a test says."""

import random
from dataclasses import dataclass, field
from typing import Any

import anyio

from gateway.clock import Clock
from gateway.config import discovery as config
from gateway.fleet.discoveries import Discoveries
from gateway.fleet.discovery.endpoint import Discovery, Surroundings, Told
from gateway.fleet.state import FleetState
from gateway.telemetry.metrics import Metrics
from tests.support.fake_clock import FakeClock


@dataclass(eq=False)
class Scripted:
    """A look-up. `told`: who wants to know, once it runs; `fails`: it raises instead."""

    given: config.Discovery
    told: Told | None = None
    fails: bool = False
    runs: int = 0
    has_ended: bool = False

    async def run(self, told: Told) -> None:
        self.told = told
        self.runs += 1
        if self.fails:
            raise RuntimeError("a plug-in")
        try:
            await anyio.sleep_forever()
        finally:
            self.has_ended = True


@dataclass
class Script:
    """Opens look-ups, and remembers them."""

    opened: list[Scripted] = field(default_factory=list)
    fails: bool = False

    def open(self, given: config.Discovery, _: Surroundings) -> Discovery:
        self.opened.append(Scripted(given, fails=self.fails))
        return self.opened[-1]


def discoveries(
    fleet: FleetState,
    script: Script | None = None,
    *,
    metrics: Metrics | None = None,
    clock: Clock | None = None,
) -> Discoveries:
    """Those of a fleet."""
    script = script or Script()
    kinds = {"dns": script.open, "kubernetes": script.open}
    around = Surroundings({}, random.Random(1))
    return Discoveries(fleet, kinds, around, metrics or Metrics(), clock or FakeClock())


def a_discovered(name: str = "m", dns: str = "vllm.test", **more: Any) -> dict[str, Any]:
    """A model whose replicas are discovered."""
    return {"name": name, "engine": "vllm", "discovery": {"dns": dns, "port": 8000}, **more}
