"""Queues around a fleet, and calls that wait in them."""

import json
import random
from typing import Any

from gateway.auth.keys import Caller, Plan
from gateway.config.access import Priority
from gateway.fleet.catalog import Variant
from gateway.fleet.resting import Resting
from gateway.fleet.state import FleetState
from gateway.queueing.queues import Queues
from gateway.queueing.refusals import Refused
from gateway.routing import POLICIES
from gateway.wire.ask import Ask, Operation, read_ask
from tests.support.fake_clock import FakeClock


class Refusals:
    """Keeps what was told of calls that may not wait."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Refused]] = []

    def __call__(self, variant: Variant, priority: str, why: Refused) -> None:
        self.told.append((variant.name, priority, why))


def a_queues(
    fleet: FleetState,
    clock: FakeClock | None = None,
    refusals: Refusals | None = None,
    resting: Resting | None = None,
) -> Queues:
    return Queues(
        fleet=fleet,
        policies={name: new() for name, new in POLICIES.items()},
        resting=resting or Resting(),
        clock=clock or FakeClock(),
        rng=random.Random(0),
        told=refusals or Refusals(),
    )


def a_caller(
    name: str = "team", *, weight: float = 1.0, priority: Priority = "interactive"
) -> Caller:
    return Caller(name, Plan("plan", ("*",), weight=weight, priority=priority))


def an_ask(**fields: Any) -> Ask:
    body = {"model": "m", "messages": []} | fields
    return read_ask(json.dumps(body).encode(), Operation.CHAT)
