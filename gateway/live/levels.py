"""What keys have left of their limits, for a view: one question to the store for all of them."""

from collections.abc import Iterable, Sequence
from typing import Final

import anyio

from gateway.auth.issuer import Issuer
from gateway.auth.keys import Caller
from gateway.errors import GatewayError
from gateway.fleet.state import FleetState
from gateway.limits.bucket import Bucket, left
from gateway.limits.limiter import Limiter
from gateway.live.view import KeysView, KeyView, LimitView

SHOWN: Final = 50
_ASKED: Final = 200
_WAIT_S: Final = 2.0
_UNKNOWN: Final = KeysView(store_state="unknown", keys=[], omitted=0)


class KeyLevels:
    """The keys of the file, those that were made at run time, and `anonymous`."""

    def __init__(self, fleet: FleetState, issuer: Issuer | None, limiter: Limiter) -> None:
        self._fleet = fleet
        self._issuer = issuer
        self._limiter = limiter

    async def read(self) -> KeysView:
        """Never fails, and waits two seconds at most: what cannot be known then is `unknown`."""
        shown = _UNKNOWN
        with anyio.move_on_after(_WAIT_S):
            try:
                shown = await self._read()
            except GatewayError:  # Redis is away, and nothing stands in for it
                return _UNKNOWN
        return shown

    async def _read(self) -> KeysView:
        limited = [
            (caller, buckets)
            for caller in await self._callers()
            if (buckets := self._limiter.buckets_of(caller))
        ]
        asked = limited[:_ASKED]
        store = self._limiter.store
        every = [bucket for _, buckets in asked for bucket in buckets]
        lacks = iter(await store.lacks(every) if every else ())
        keys = [
            _key(caller, [(bucket, next(lacks)) for bucket in buckets]) for caller, buckets in asked
        ]
        keys.sort(key=_least_left)
        return KeysView(
            store_state=store.state.value,
            keys=keys[:SHOWN],
            omitted=len(limited) - len(keys[:SHOWN]),
        )

    async def _callers(self) -> Sequence[Caller]:
        ring = self._fleet.catalog.keys
        callers = list(ring.of_file().values())
        if ring.anonymous is not None:
            callers.append(ring.anonymous)
        if self._issuer is not None:
            known = {caller.name for caller in callers}
            issued = (one.caller for one in await self._issuer.keys())
            callers += [one for one in issued if one.name not in known]
        return callers


def _key(caller: Caller, levels: Iterable[tuple[Bucket, float]]) -> KeyView:
    return KeyView(
        key=caller.name,
        plan=caller.plan.name,
        limits=[
            LimitView(
                rule=bucket.rule,
                limit=bucket.limit,
                burst=bucket.burst,
                left=left(bucket, lack),
            )
            for bucket, lack in levels
        ],
    )


def _least_left(key: KeyView) -> float:
    """The part that is left of the limit that is nearest to its end."""
    return min(one.left / one.burst for one in key.limits)
