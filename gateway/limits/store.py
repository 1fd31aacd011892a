"""What a limit store does: decide over all buckets of a request at once, and settle afterwards.

A *claim* is every bucket that a request touches with what it may cost there. A store grants all
of it or nothing. What is granted is a *hold*; settling replaces what was held by what was used.

Settling never waits and never fails: it is done at once or queued, so that it cannot be
interrupted by whatever ends a request.
"""

from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import ClassVar, Protocol, Self

import msgspec

from gateway.limits.bucket import Bucket

Claim = tuple[tuple[Bucket, float], ...]


class StoreState(StrEnum):
    """How limits are enforced now."""

    OK = "ok"
    LOCAL = "local"
    ALLOW = "allow"
    DENY = "deny"


class Hold:
    """What was granted. `lacks` are those of the claim's buckets, in its order, afterwards.

    `is_local`: granted by this process alone while the shared store was away.
    """

    __slots__ = ("claim", "id", "is_local", "is_open", "lacks")

    def __init__(
        self, number: str, claim: Claim, lacks: Sequence[float], *, is_local: bool = False
    ) -> None:
        self.id = number
        self.claim = claim
        self.lacks = lacks
        self.is_local = is_local
        self.is_open = True


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Nothing was taken. `index`: the bucket of the claim that refused.

    `wait_us`: when it would not have; 0 for a bucket of slots, where nobody knows.
    """

    claim: Claim
    lacks: Sequence[float]
    index: int
    wait_us: float


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What one call used, for the books. `day` as `2026-11-25`, in UTC."""

    day: str
    caller: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 1
    errors: int = 0


class OpenHold(msgspec.Struct, frozen=True, gc=False):
    """A slot in use. `process` and `number` say whose; `lease_s` is left of it, None: no end."""

    process: str
    number: str
    lease_s: float | None


class LimitStore(Protocol):
    """Counts what is used of every limit. `kind` is its name in the configuration."""

    kind: ClassVar[str]

    @property
    def state(self) -> StoreState:
        """How limits are enforced now."""
        ...

    @property
    def pending(self) -> int:
        """Settlements that are queued."""
        ...

    async def take(self, claim: Claim) -> Hold | Refusal:
        """All of a claim, or nothing. Raises LimiterDown where it can neither ask nor guess.

        Whoever is cancelled while waiting has taken nothing.
        """
        ...

    def settle(self, hold: Hold, costs: Sequence[float]) -> None:
        """Replace what is held by `costs`, in the claim's order, and free its slots. Once."""
        ...

    async def lacks(self, buckets: Sequence[Bucket]) -> Sequence[float]:
        """How far each bucket is from full, in us; taken slots for a bucket of slots."""
        ...

    def record(self, usage: Usage) -> None:
        """Add to the books."""
        ...

    async def holds(self, slots: Bucket) -> Sequence[OpenHold]:
        """Who has the slots of a bucket now, as far as that is known."""
        ...

    async def usage(self, first_day: str, last_day: str, caller: str | None) -> Sequence[Usage]:
        """The books of these days, both included. Raises LimiterDown when they cannot be read."""
        ...

    async def run(self) -> None:
        """Whatever has to be done beside the requests, until cancelled."""
        ...

    async def __aenter__(self) -> Self:
        """Connect, or find out that it cannot be done now."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what is queued, as far as that can be done now; after `run`."""
        ...
