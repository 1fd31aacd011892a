"""Where keys made at run time are kept: one hash in Redis, with its version and its audit log.

Every wait has a deadline here, for nobody else knows what may have become of a change.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TypeVar, cast

import msgspec
from redis import exceptions

from gateway.errors import KeysUnavailable
from gateway.redis_connect import Client, disconnect, evaluate

SCRIPT: Final = (files("gateway.auth") / "issued.lua").read_text()
_SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
# all keys lie in one slot of a Redis Cluster, apart from the limits
KEYS_TAG: Final = "{keys}"
_LOOK_S = 1.0
_CHANGE_S = 2.0

T = TypeVar("T")

_FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError)


class Look(msgspec.Struct, frozen=True):
    """All records, by name, as they are kept; `version` is that of the whole."""

    version: int
    records: Mapping[str, str]


class Lost(Exception):  # named for what happened
    """The store has lost its memory: it knows no version, but this process does."""


class Raced(Exception):  # named for what happened
    """The record is not what it was taken for: somebody else was faster."""


class Change(msgspec.Struct, frozen=True):
    """What is to become of a record. `before` and `after` None: it is not there."""

    action: str
    name: str
    before: str | None
    after: str | None
    request_id: str
    detail: Mapping[str, object]


class Audited(msgspec.Struct, frozen=True):
    """An entry of the audit log."""

    id: str
    action: str
    key: str
    request_id: str
    detail: Mapping[str, object]

    @property
    def time_unix_s(self) -> float:
        """By Redis's own clock."""
        return int(self.id.partition("-")[0]) / 1000


class IssuedStore:
    """Raises KeysUnavailable when Redis does not answer, or cannot do it."""

    def __init__(self, client: Client, key_prefix: str) -> None:
        self._client = client
        base = f"{key_prefix}:{KEYS_TAG}:"
        self._keys = (base + "version", base + "records", base + "audit")

    async def look(self, known: int | None) -> Look | None:
        """All records, unless `known` is their version still. Raises Lost."""
        answer = await self._run(_LOOK_S, "look", "" if known is None else str(known))
        match answer:
            case [b"same"]:
                return None
            case [b"lost"]:
                raise Lost
            case _:
                _, version, flat = cast("tuple[bytes, bytes, list[bytes]]", answer)
                parts = [part.decode() for part in flat]
                return Look(int(version), dict(zip(parts[::2], parts[1::2], strict=True)))

    async def record(self, name: str) -> str | None:
        """One record as it is now."""
        client = cast("Any", self._client)
        asked: Awaitable[bytes | None] = client.hget(self._keys[1], name)
        found = await self._answer(_LOOK_S, asked)
        return None if found is None else found.decode()

    async def change(self, change: Change, known: int | None) -> None:
        """Raises Raced or Lost: then nothing was changed. `known` as for `look`."""
        answer = await self._run(
            _CHANGE_S,
            "change",
            "" if known is None else str(known),
            change.name,
            change.before or "",
            change.after or "",
            change.action,
            change.request_id,
            msgspec.json.encode(change.detail).decode(),
        )
        match answer:
            case [b"raced"]:
                raise Raced
            case [b"lost"]:
                raise Lost
            case _:
                pass

    async def restore(self, known: int, records: Mapping[str, str]) -> bool:
        """Give a store without memory what this process knows; False when somebody else has."""
        flat = [part for item in records.items() for part in item]
        return await self._run(_CHANGE_S, "restore", str(known), *flat) == [b"done"]

    async def audited(self, limit: int) -> list[Audited]:
        """The last entries of the audit log, the newest first."""
        client = cast("Any", self._client)
        asked: Awaitable[list[tuple[bytes, dict[bytes, bytes]]]] = client.xrevrange(
            self._keys[2], count=limit
        )
        return [_entry(number, told) for number, told in await self._answer(_CHANGE_S, asked)]

    async def close(self) -> None:
        """Close the connections."""
        await disconnect(self._client)

    async def _run(self, within_s: float, *arguments: str) -> Sequence[object]:
        encoded = [argument.encode() for argument in arguments]
        running = evaluate(self._client, SCRIPT, _SHA, self._keys, encoded)
        return cast("Sequence[object]", await self._answer(within_s, running))

    async def _answer(self, within_s: float, asked: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(within_s):
                return await asked
        except _FAILURES as exc:
            raise KeysUnavailable(
                "keys made at run time are kept in Redis, which does not answer now; "
                "of a change it is not known whether it was made",
                retry_after_s=1.0,
            ) from exc


def _entry(number: bytes, told: Mapping[bytes, bytes]) -> Audited:
    def text(name: str) -> str:
        return told.get(name.encode(), b"").decode()

    detail = msgspec.json.decode(text("detail") or "{}", type=dict[str, object])
    return Audited(number.decode(), text("action"), text("key"), text("request_id"), detail)
