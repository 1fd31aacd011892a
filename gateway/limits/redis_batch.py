"""What is asked of Redis at one time, in the form that `limits.lua` reads. Pure.

Every key of a batch is named once, so that Redis Cluster can find them; operations refer to keys
by their place, from 1 as Lua counts.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.limits.books import FIELDS
from gateway.limits.bucket import Bucket
from gateway.limits.store import Claim, Usage

_TAKE: Final = 1
_SETTLE: Final = 2
_LOOK: Final = 3
_KEEP: Final = 4
_AT_LEAST: Final = 5
_PACKET: Final = 6
# a name cannot hold this, so fields of the books can be split again
SEPARATOR: Final = "\t"

_encoder = msgspec.msgpack.Encoder()


Results = list[int | list[float]]


class Reply(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the script returns. `results` None: another store than the one that was known.

    `count`: batches that it has answered, this one included; `alive`: processes of the gateway,
    told to a heartbeat.
    """

    now: str
    birth: str
    results: Results | None = None
    count: int = 0
    alive: int = 0


_decoder = msgspec.msgpack.Decoder(Reply)


class Batch:
    """Operations, each answered by one result in the same order."""

    def __init__(self, prefix: str) -> None:
        self.keys: list[str] = []
        self._prefix = prefix
        self._kinds: list[tuple[float, ...]] = []
        self._ops: list[Sequence[object]] = []
        self._places: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many operations there are."""
        return len(self._ops)

    def take(self, number: str, claim: Claim) -> None:
        """All of the claim or nothing. Result: refused at (0: granted), wait in us, lacks."""
        op: list[object] = [_TAKE, number]
        for bucket, cost in claim:
            op.append(self._bucket(bucket))
            op.append(cost)
        self._ops.append(op)

    def settle(self, number: str, claim: Claim, costs: Sequence[float]) -> None:
        """Once for each hold: what was used in place of what was held. Result: 1 when it was."""
        op: list[object] = [_SETTLE, number]
        for (bucket, held), cost in zip(claim, costs, strict=True):
            op.append(self._bucket(bucket))
            op.append(cost - held)
        self._ops.append(op)

    def look(self, buckets: Sequence[Bucket]) -> None:
        """Result: the lack of each."""
        self._add(_LOOK, *map(self._bucket, buckets))

    def keep_slots(self, bucket: Bucket, numbers: Iterable[str]) -> None:
        """These holds live: their lease of a slot begins anew.

        Of a batch that tells they are all that this process has there.
        """
        self._add(_KEEP, self._bucket(bucket), *numbers)

    def keep_open(self, numbers: Iterable[str]) -> None:
        """These holds have to be settled yet."""
        self._add(_KEEP, 0, *numbers)

    def at_least(self, lacks: Iterable[tuple[Bucket, float]]) -> None:
        """Buckets are this far from full, if they are not further."""
        self._add(
            _AT_LEAST, *(part for bucket, lack in lacks for part in (self._bucket(bucket), lack))
        )

    def packet(
        self, number: int, spent: Iterable[tuple[Bucket, float]], usages: Iterable[Usage]
    ) -> None:
        """What was spent without asking, and what goes into the books; each number once."""
        units = [part for bucket, cost in spent for part in (self._bucket(bucket), cost)]
        sums = [
            (self._place(f"books/{usage.day}", ()), books_field(usage, name), amount)
            for usage in usages
            for name in FIELDS
            if (amount := getattr(usage, name))
        ]
        self._add(_PACKET, number, units, sums)

    def encode(
        self,
        *,
        epoch: int,
        birth: str,
        expected_us: float | None,
        lease_us: float,
        is_heartbeat: bool,
        is_telling: bool,
        count: int = 0,
    ) -> bytes:
        """The script's argument.

        `epoch` goes up whenever a batch was given up; `birth` is the store's id as far as known,
        `expected_us` what its clock must show at least, where that is known; `is_telling`: it
        may be another store; `count`: batches that it has answered.
        """
        return _encoder.encode(
            (
                epoch,
                birth,
                expected_us,
                lease_us,
                self._kinds,
                self._ops,
                is_heartbeat,
                is_telling,
                count,
            )
        )

    def _add(self, *op: object) -> None:
        self._ops.append(op)

    def _bucket(self, bucket: Bucket) -> int:
        place = self._places.get(bucket.key)
        if place is not None:
            return place
        if bucket.is_slots:
            return self._place(bucket.key, (bucket.limit,))
        return self._place(bucket.key, (bucket.interval_us, bucket.capacity_us))

    def _place(self, key: str, kind: tuple[float, ...]) -> int:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.keys) + 1
            self.keys.append(self._prefix + key)
            self._kinds.append(kind)
        return place


def read_reply(raw: bytes) -> Reply:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(raw)


def books_field(usage: Usage, name: str) -> str:
    """The field of a day's books that holds one sum."""
    return SEPARATOR.join((usage.caller, usage.model, name))
