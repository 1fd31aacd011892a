"""What Redis knows of limits, for people to see: who has which slots, and the books.

Beside the line of the requests, which nobody who looks may hold up: every wait has its own
deadline, and large books come in pieces.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final, TypeVar, cast

from redis import exceptions

from gateway.errors import LimiterDown
from gateway.limits.books import FIELDS, in_range
from gateway.limits.bucket import Bucket
from gateway.limits.redis_batch import SEPARATOR
from gateway.limits.store import OpenHold, Usage
from gateway.redis_connect import Client, evaluate

T = TypeVar("T")

_WAIT_S: Final = 2.0
_AT_ONCE: Final = 1000
# whose leases end after now, by the limits' clock as limits.lua goes by it
_HOLDS: Final = """
local clock = redis.call('HMGET', KEYS[1], 'wall', 'now')
if not clock[2] then return {} end
local time = redis.call('TIME')
local now = tonumber(clock[2]) + (time[1] * 1000000 + time[2] - tonumber(clock[1]))
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.17g', now), '+inf',
  'WITHSCORES', 'LIMIT', 0, 1000)
for i = 2, #found, 2 do found[i] = string.format('%.0f', tonumber(found[i]) - now) end
return found
"""
_HOLDS_SHA: Final = hashlib.sha1(_HOLDS.encode(), usedforsecurity=False).hexdigest()

_FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError)

Sums = dict[tuple[str, str], dict[str, int]]


class RedisReader:
    """Reads what the script has written below `prefix`."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = cast("Any", client)
        self._prefix = prefix

    async def holds(self, slots: Bucket) -> Sequence[OpenHold]:
        """Raises LimiterDown."""
        keys = (self._prefix + "clock", self._prefix + slots.key)
        asked = cast("Awaitable[list[bytes]]", evaluate(self._client, _HOLDS, _HOLDS_SHA, keys, ()))
        told = await _answer(asked)
        return [
            _hold(name.decode().removeprefix(self._prefix), float(left_us) / 1e6)
            for name, left_us in zip(told[::2], told[1::2], strict=True)
        ]

    async def usage(self, first_day: str, last_day: str, caller: str | None) -> Sequence[Usage]:
        """Raises LimiterDown."""
        found: list[Usage] = []
        for day in _days(first_day, last_day):
            sums = await self._sums(f"{self._prefix}books/{day}", caller)
            for (name, model), given in sums.items():
                found.append(Usage(day, name, model, *[given.get(what, 0) for what in FIELDS]))
        return in_range(found, first_day, last_day, caller)

    async def _sums(self, key: str, caller: str | None) -> Sums:
        sums: Sums = {}
        cursor = 0
        while True:
            asked: Awaitable[tuple[int, dict[bytes, bytes]]] = self._client.hscan(
                key, cursor, count=_AT_ONCE
            )
            cursor, fields = await _answer(asked)
            for field, amount in fields.items():
                name, model, what = field.decode().split(SEPARATOR)
                if caller in (None, name):
                    sums.setdefault((name, model), {})[what] = int(amount)
            if not cursor:
                return sums


async def _answer(asked: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(_WAIT_S):
            return await asked
    except _FAILURES as exc:
        raise LimiterDown("Redis does not answer now, try again", retry_after_s=1.0) from exc


def _hold(name: str, lease_s: float) -> OpenHold:
    """`name` is `process/ID/NUMBER`, as the script has it."""
    _, process, number = name.split("/")
    return OpenHold(process, number, lease_s)


def _days(first: str, last: str) -> Iterator[str]:
    day, end = date.fromisoformat(first), date.fromisoformat(last)
    while day <= end:
        yield day.isoformat()
        day += timedelta(days=1)
