"""What a discovery finds, and how it tells: the seam that every way of looking up satisfies."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Standing(StrEnum):
    """Whether an endpoint is to get requests; what runs there goes on in any case."""

    SERVING = "serving"
    NOT_READY = "not_ready"
    TERMINATING = "terminating"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where an engine listens. `host` is an address, or a name that has one.

    `name` is for people, and unique among the endpoints that are found together.
    """

    name: str
    host: str
    port: int
    standing: Standing = Standing.SERVING


class Told(Protocol):
    """Who wants to know. Nothing of it waits, or raises."""

    def found(self, endpoints: Sequence[Endpoint]) -> None:
        """All that are there now: whoever is left out is gone."""
        ...

    def confirmed(self) -> None:
        """What was found last is still so."""
        ...

    def failed(self, reason: str) -> None:
        """It could not be looked up, and what was found last stands. No addresses, no secrets."""
        ...


class Discovery(Protocol):
    """Keeps telling what it finds."""

    async def run(self, told: Told) -> None:
        """Until cancelled, whatever fails."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a discovery may need of the process that it runs in.

    `account`: where a pod of Kubernetes finds token, authority and namespace.
    """

    environ: Mapping[str, str]
    rng: random.Random
    account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def address_name(host: str) -> str:
    """The name of an endpoint that has no other: `r-10-0-3-11`, `r-fd00--7`."""
    return "r-" + host.replace(".", "-").replace(":", "-")
