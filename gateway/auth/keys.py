"""From a credential to a caller. Keys are kept as SHA-256 and looked up by it.

The time of a lookup tells nothing about a key: what is compared is its digest, which nobody can
steer. Names of keys, never keys, are shown and logged.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.config.access import NO_LIMITS, Rates
from gateway.errors import Unauthenticated


class Plan:
    """What a caller may use: `patterns` are globs over model names, tags included."""

    __slots__ = ("_known", "_patterns", "is_unrestricted", "name")

    def __init__(self, name: str, patterns: Iterable[str]) -> None:
        self.name = name
        self._patterns = tuple(patterns)
        self._known: dict[str, bool] = {}
        self.is_unrestricted = "*" in self._patterns

    def allows(self, model: str) -> bool:
        """Whether this name of the catalog, with or without a tag, may be used.

        A pattern for a model includes its variants: `llama` also allows `llama:fp8`. Only ask
        for names of the catalog: the answers are remembered.
        """
        if self.is_unrestricted:
            return True
        allowed = self._known.get(model)
        if allowed is None:
            names = (model, model.rpartition(":")[0])
            allowed = self._known[model] = any(
                fnmatchcase(name, pattern) for name in names if name for pattern in self._patterns
            )
        return allowed


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Who calls. `rates`: the plan's limits, with what this key has instead."""

    name: str
    plan: Plan
    rates: Rates = NO_LIMITS


class KeyRing:
    """All callers by the digest of their key. Without any, everybody is `anonymous`."""

    __slots__ = ("_anonymous", "_callers")

    def __init__(self, callers: dict[bytes, Caller], anonymous: Caller | None) -> None:
        self._callers = callers
        self._anonymous = anonymous

    def caller(self, authorization: bytes | None) -> Caller:
        """Raises Unauthenticated."""
        if self._anonymous is not None:
            return self._anonymous
        if authorization is None:
            raise Unauthenticated(
                "you did not provide an API key: send it as `Authorization: Bearer KEY`"
            )
        scheme, _, key = authorization.partition(b" ")
        caller = self._callers.get(hashlib.sha256(key.strip()).digest())
        if caller is None or scheme.lower() != b"bearer":
            raise Unauthenticated("incorrect API key provided")
        return caller
