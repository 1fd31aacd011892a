"""One inference request that a simulated engine has understood, and what is told of its answer."""

import json
from dataclasses import dataclass
from typing import Any

from gateway.simulator.faults import Fault
from gateway.simulator.generation import Step

Body = dict[str, Any]


@dataclass(slots=True)
class Job:
    """One inference request, understood. Every prompt gets `n` answers."""

    body: Body
    is_chat: bool
    id: str
    model: str
    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    stops: tuple[str, ...]
    n: int
    include_usage: bool
    fault: Fault | None
    created: int


@dataclass(slots=True)
class Told:
    """One choice of a whole answer."""

    text: str
    tokens: list[int]
    last: Step


def asked_tokens(body: Body) -> int | None:
    """The length of answer that was asked for; None when nothing was."""
    asked = body.get("max_completion_tokens")
    if asked is None:
        asked = body.get("max_tokens")
    return asked if isinstance(asked, int) else None


def dumps(value: object) -> str:
    """JSON as engines write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
