"""From a credential to a caller. Keys are kept as SHA-256 and looked up by it.

Keys of the configuration file come first, then those that were made at run time (*issued*).
The time of a lookup tells nothing about a key: what is compared is its digest, which nobody can
steer. Names of keys, never keys, are shown and logged.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.config.access import NO_LIMITS, Priority, Rates
from gateway.config.choice import Choose
from gateway.errors import GatewayError, KeysUnavailable, Unauthenticated


class Plan:
    """What a caller may use: `patterns` are globs over model names, tags included.

    `priority` and `weight`: when it is its turn while calls wait. `shows_timing`: callers are
    told with each answer where its time went. `choose`: how variants are chosen for it; None: as
    their models say.
    """

    __slots__ = (
        "_known",
        "_patterns",
        "choose",
        "is_unrestricted",
        "name",
        "priority",
        "shows_timing",
        "weight",
    )

    def __init__(
        self,
        name: str,
        patterns: Iterable[str],
        *,
        weight: float = 1.0,
        priority: Priority = "interactive",
        shows_timing: bool = False,
        choose: Choose | None = None,
    ) -> None:
        self.name = name
        self.weight = weight
        self.priority: Priority = priority
        self.shows_timing = shows_timing
        self.choose = choose
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


@dataclass(frozen=True, slots=True, eq=False)
class IssuedSecret:
    """One secret of an issued key. `refused`: why whoever sends it may not call, if so.

    `ends_s`: until when it is one, in seconds since 1970.
    """

    caller: Caller
    ends_s: float
    refused: tuple[type[GatewayError], str] | None = None


class IssuedRing:
    """Keys made at run time, by the digest of each secret. Replaced as a whole."""

    __slots__ = ("_secrets", "_unix_s", "is_known")

    def __init__(
        self, secrets: dict[bytes, IssuedSecret], unix_s: Callable[[], float], *, is_known: bool
    ) -> None:
        """`is_known` False: nobody could say yet which keys there are."""
        self.is_known = is_known
        self._secrets = secrets
        self._unix_s = unix_s

    def caller(self, digest: bytes) -> Caller | None:
        """None when it is no secret of ours. Raises why its key may not call."""
        secret = self._secrets.get(digest)
        if secret is None or secret.ends_s <= self._unix_s():
            return None
        if secret.refused is not None:
            kind, reason = secret.refused
            raise kind(reason)
        return secret.caller


class KeyRing:
    """All callers by the digest of their key. Without keys in the file, others are `anonymous`.

    `issued` None: none can be made at run time.
    """

    __slots__ = ("_anonymous", "_callers", "_issued")

    def __init__(
        self,
        callers: dict[bytes, Caller],
        anonymous: Caller | None,
        issued: IssuedRing | None = None,
    ) -> None:
        self._callers = callers
        self._anonymous = anonymous
        self._issued = issued

    def with_issued(self, issued: IssuedRing) -> "KeyRing":
        """The same, with these keys beside those of the file."""
        return KeyRing(self._callers, self._anonymous, issued)

    def of_file(self) -> dict[str, Caller]:
        """The callers that the file names."""
        return {caller.name: caller for caller in self._callers.values()}

    @property
    def anonymous(self) -> Caller | None:
        """Who calls without a key; None where nobody may."""
        return self._anonymous

    def caller(self, authorization: bytes | None) -> Caller:
        """Raises Unauthenticated; of an issued key also PlanNotFound, or KeysUnavailable."""
        anonymous, issued = self._anonymous, self._issued
        if anonymous is not None and (authorization is None or issued is None):
            return anonymous
        if authorization is None:
            raise Unauthenticated(
                "you did not provide an API key: send it as `Authorization: Bearer KEY`"
            )
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() == b"bearer":
            digest = hashlib.sha256(key.strip()).digest()
            caller = self._callers.get(digest)
            if caller is None and issued is not None:
                caller = issued.caller(digest)
                if caller is None and anonymous is None and not issued.is_known:
                    raise KeysUnavailable(
                        "this API key cannot be checked now, try again", retry_after_s=1.0
                    )
            if caller is not None:
                return caller
        if anonymous is not None:
            return anonymous
        raise Unauthenticated("incorrect API key provided")
