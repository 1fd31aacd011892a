"""Makes keys at run time, and follows what other processes make: the life of issued keys.

Each process asks Redis a few times a second whether anything has changed, and then loads all of
it. While Redis is away the known keys stay valid. A Redis that comes back without its memory is
told the keys again by whichever process sees it first.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import anyio

from gateway.auth.issued import (
    ANONYMOUS,
    Access,
    IssuedKey,
    Standing,
    created,
    read_record,
    ring_of,
    rotated,
    standing,
    switched,
)
from gateway.auth.issued_store import Audited, Change, IssuedStore, Lost, Raced
from gateway.auth.keys import IssuedRing
from gateway.clock import Clock
from gateway.config.access import Limits, Rates
from gateway.errors import ConfigInvalid, InvalidRequest, KeyConflict, KeyNotFound, KeysUnavailable
from gateway.redis_connect import connect, read_address
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names

log = logging.getLogger(__name__)

POLL_S: Final = 0.3
_TRIES: Final = 5
_CLOSE_S: Final = 1.0
_SET_ASIDE: Final = {
    "plan_not_found": "its plan is not in the configuration",
    "replaced_by_file": "the configuration file has a key of this name",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record as it is kept, and what it means; None when it cannot be read."""

    text: str
    standing: Standing | None


class Issuer:
    """The issued keys of one process. `serve` gets what callers are looked up in."""

    def __init__(
        self,
        store: IssuedStore,
        clock: Clock,
        access: Access,
        serve: Callable[[IssuedRing], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._access = access
        self._serve = serve
        self._version: int | None = None
        self._entries: Mapping[str, _Entry] = {}
        self._is_away = False
        self._serve_all()

    # --- following

    async def __aenter__(self) -> Self:
        await self._try_refresh()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await self._store.close()

    async def run(self) -> None:
        """Follow Redis until cancelled."""
        while True:
            await anyio.sleep(POLL_S)
            try:
                await self._try_refresh()
            except Exception:  # the task's outermost edge: what is known goes on
                log.exception(F.BUG)

    def configure(self, access: Access) -> None:
        """The configuration has changed: keys mean what they mean by the new one."""
        self._access = access
        self._entries = {
            name: entry
            if entry.standing is None
            else _Entry(entry.text, self._told(entry.standing.key, entry.standing))
            for name, entry in self._entries.items()
        }
        self._serve_all()

    async def _try_refresh(self) -> None:
        try:
            await self._refresh()
        except KeysUnavailable as away:
            if not self._is_away:
                self._is_away = True
                cause = type(away.__cause__).__name__
                log.warning(F.KEY_STORE, extra={F.STATE: "away", F.REASON: cause})
            return
        if self._is_away:
            self._is_away = False
            log.warning(F.KEY_STORE, extra={F.STATE: "ok"})

    async def _refresh(self) -> None:
        """Raises KeysUnavailable."""
        while True:
            before = self._version
            try:
                look = await self._store.look(before)
            except Lost:
                await self._restore()
                continue
            # another task here may have seen more meanwhile; a lower version is an older copy
            if look is not None and (
                self._version in (before, None) or look.version > (self._version or 0)
            ):
                self._version = look.version
                self._entries = {
                    name: self._entry(name, text) for name, text in look.records.items()
                }
                self._serve_all()
            return

    async def _restore(self) -> None:
        """Raises KeysUnavailable."""
        texts = {name: entry.text for name, entry in self._entries.items()}
        if await self._store.restore(self._version or 0, texts):
            log.warning(F.KEYS_RESTORED, extra={F.COUNT: len(texts)})

    def _entry(self, name: str, text: str) -> _Entry:
        """What it was, where the record has not changed."""
        before = self._entries.get(name)
        if before is not None and before.text == text:
            return before
        try:
            key = read_record(text)
        except ValueError as unreadable:
            log.error(  # noqa: TRY400  # the reason says it all, a stack says nothing
                F.KEY_SET_ASIDE, extra={F.KEY: name, F.REASON: str(unreadable)}
            )
            return _Entry(text, None)
        return _Entry(text, self._told(key, None if before is None else before.standing))

    def _told(self, key: IssuedKey, before: Standing | None) -> Standing:
        """What a key means now, logged when it begins to mean nothing."""
        now = standing(key, self._access)
        if now.state in _SET_ASIDE and (before is None or before.state != now.state):
            log.warning(F.KEY_SET_ASIDE, extra={F.KEY: key.name, F.REASON: _SET_ASIDE[now.state]})
        return now

    def _serve_all(self) -> None:
        is_known = self._version is not None
        self._serve(ring_of(self._standings(), self._clock.unix_s, is_known=is_known))

    def _standings(self) -> list[Standing]:
        return [entry.standing for entry in self._entries.values() if entry.standing is not None]

    # --- what an operator asks

    async def keys(self) -> Sequence[Standing]:
        """All issued keys by name, as new as can be had. Raises KeysUnavailable."""
        try:
            await self._refresh()
        except KeysUnavailable:
            if self._version is None:
                raise
        return sorted(self._standings(), key=lambda one: one.key.name)

    async def key(self, name: str) -> Standing | None:
        """One of them. Raises KeysUnavailable."""
        return next((one for one in await self.keys() if one.key.name == name), None)

    async def audited(self, limit: int) -> Sequence[Audited]:
        """The last changes, the newest first. Raises KeysUnavailable."""
        return await self._store.audited(limit)

    async def create(
        self, name: str, plan: str, limits: Rates, request_id: str
    ) -> tuple[Standing, str]:
        """A new key and its secret. Raises InvalidRequest, KeyConflict, KeysUnavailable."""
        self._check(plan, limits)
        if name in self._access.file_keys:
            raise KeyConflict(f'the configuration file has a key "{name}"', param="name")
        if name == ANONYMOUS:
            raise KeyConflict(f'"{name}" is whoever calls without a key', param="name")
        key, secret = created(name, plan, limits, self._now_s())

        def become(before: IssuedKey | None) -> IssuedKey:
            if before is not None:
                raise KeyConflict(f'there is a key "{name}" already', param="name")
            return key

        detail = {"plan": plan, "limits": limits.model_dump(exclude_unset=True)}
        await self._change("create", name, request_id, detail, become)
        return self._standing(key), secret

    async def rotate(self, name: str, grace_s: float, request_id: str) -> tuple[Standing, str]:
        """A new secret; the old one is good for `grace_s` more. Raises as the others."""
        secret = ""

        def become(before: IssuedKey | None) -> IssuedKey:
            nonlocal secret
            key, secret = rotated(self._changeable(name, before), grace_s, self._now_s())
            return key

        key = await self._change("rotate", name, request_id, {"grace_s": grace_s}, become)
        return self._standing(key), secret

    async def switch(self, name: str, request_id: str, *, is_disabled: bool) -> Standing:
        """Disable or enable, unless it is so already. Raises as the others."""

        def become(before: IssuedKey | None) -> IssuedKey:
            key = self._changeable(name, before)
            return switched(key, is_disabled=is_disabled, now_unix_s=self._now_s())

        action = "disable" if is_disabled else "enable"
        return self._standing(await self._change(action, name, request_id, {}, become))

    async def delete(self, name: str, request_id: str) -> Standing:
        """The key as it was. Raises KeyNotFound, KeyConflict, KeysUnavailable."""

        def become(before: IssuedKey | None) -> IssuedKey:
            # also behind a key of the file: or it would come back when that one goes
            return self._changeable(name, before) if before is None else before

        key = await self._change("delete", name, request_id, {}, become, is_gone=True)
        return self._standing(key)

    async def _change(
        self,
        action: str,
        name: str,
        request_id: str,
        detail: Mapping[str, object],
        become: Callable[[IssuedKey | None], IssuedKey],
        *,
        is_gone: bool = False,
    ) -> IssuedKey:
        """What `become` makes of the record as it is now; once nobody else changed it meanwhile."""
        for _ in range(_TRIES):
            before = await self._store.record(name)
            was = None if before is None else _readable(name, before)
            key = become(was)
            if key is was and not is_gone:
                return key
            after = None if is_gone else key.as_text()
            change = Change(action, name, before, after, request_id, detail)
            try:
                await self._store.change(change, self._version)
            except Raced:
                continue
            except Lost:
                await self._restore()
                continue
            log.info(F.AUDIT, extra={F.ACTION: action, F.KEY: name, F.REQUEST_ID: request_id})
            await self._try_refresh()
            return key
        raise KeyConflict(f'others are changing the key "{name}", try again')

    def _changeable(self, name: str, key: IssuedKey | None) -> IssuedKey:
        if name in self._access.file_keys:
            raise KeyConflict(
                f'the key "{name}" is in the configuration file: change it there', param="name"
            )
        if key is None:
            raise KeyNotFound(f'there is no key "{name}"', param="name")
        return key

    def _now_s(self) -> float:
        return round(self._clock.unix_s(), 3)

    def _standing(self, key: IssuedKey) -> Standing:
        return standing(key, self._access)

    def _check(self, plan: str, limits: Rates) -> None:
        rates = self._access.rates.get(plan)
        if rates is None:
            known = ", ".join(self._access.rates)
            raise InvalidRequest(f'"{plan}" is no plan; known: {known}', param="plan")
        for rule in rates.overridden(limits).without_rate():
            raise InvalidRequest(
                f"there is no {rule} for this key that a burst belongs to",
                param=f"limits.burst.{rule}",
            )


def _readable(name: str, text: str) -> IssuedKey:
    try:
        return read_record(text)
    except ValueError as unreadable:
        raise KeyConflict(f'the key "{name}" cannot be changed: {unreadable}') from unreadable


def open_issuer(
    limits: Limits,
    environ: Mapping[str, str],
    clock: Clock,
    access: Access,
    serve: Callable[[IssuedRing], None],
) -> Issuer | None:
    """Not connected yet; None where no key can be made. Raises ConfigInvalid."""
    if limits.store != "redis" or limits.redis_url is None:
        return None
    try:
        client = connect(read_address(limits.redis_url.read(environ)))
    except ValueError as exc:
        raise ConfigInvalid((f"limits.redis_url: {exc}",)) from exc
    return Issuer(IssuedStore(client, limits.key_prefix), clock, access, serve)
