"""A key made at run time: its record as it is kept, how it changes, and what it means. Pure.

Secrets are made here and shown once: a record holds their SHA-256 alone. While a rotation's grace
lasts there are two.
"""

import hashlib
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from gateway.auth.keys import Caller, IssuedRing, IssuedSecret, Plan
from gateway.config.access import NO_LIMITS, Name, Rates
from gateway.errors import GatewayError, PlanNotFound, Unauthenticated

# these stand in a path, after a `/` and before the next
KeyName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:+-]*$", max_length=128)
]
ANONYMOUS: Final = "anonymous"
_SECRET_BYTES: Final = 32
_DISABLED: Final = (Unauthenticated, "this API key is disabled")

State = Literal["active", "disabled", "plan_not_found", "replaced_by_file"]


class StoredSecret(BaseModel):
    """What is kept of a secret. `ends_unix_s` None: for as long as the key is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    ends_unix_s: float | None = None


class IssuedKey(BaseModel):
    """The record of a key. The first of its secrets is the newest."""

    # a newer version of the gateway may have written more
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    plan: Name
    limits: Rates = NO_LIMITS
    secrets: tuple[StoredSecret, ...]
    is_disabled: bool = False
    created_unix_s: float
    changed_unix_s: float

    def as_text(self) -> str:
        """How it is kept; a number given as null is told from one that is not given."""
        return self.model_dump_json(exclude_unset=True)

    def old_secret_ends(self, now_unix_s: float) -> float | None:
        """The end of a rotation's grace, where one lasts."""
        ends = (one.ends_unix_s for one in self.secrets[1:])
        return next((end for end in ends if end is not None and end > now_unix_s), None)


def read_record(text: str) -> IssuedKey:
    """Raises ValueError, without a word of what is in it."""
    try:
        return IssuedKey.model_validate_json(text)
    except ValidationError:
        raise ValueError("its record cannot be read by this version") from None


# --- changes


def created(name: str, plan: str, limits: Rates, now_unix_s: float) -> tuple[IssuedKey, str]:
    """A new key and its secret."""
    secret, stored = _new_secret()
    key = IssuedKey(
        name=name,
        plan=plan,
        limits=limits,
        secrets=(stored,),
        created_unix_s=now_unix_s,
        changed_unix_s=now_unix_s,
    )
    return key, secret


def rotated(key: IssuedKey, grace_s: float, now_unix_s: float) -> tuple[IssuedKey, str]:
    """The key with a new secret; the newest of the old ones is good for `grace_s` more."""
    secret, stored = _new_secret()
    kept: tuple[StoredSecret, ...] = (stored,)
    if grace_s > 0 and key.secrets:
        kept += (StoredSecret(sha256=key.secrets[0].sha256, ends_unix_s=now_unix_s + grace_s),)
    return key.model_copy(update={"secrets": kept, "changed_unix_s": now_unix_s}), secret


def switched(key: IssuedKey, *, is_disabled: bool, now_unix_s: float) -> IssuedKey:
    """The same object when it is so already."""
    if key.is_disabled is is_disabled:
        return key
    return key.model_copy(update={"is_disabled": is_disabled, "changed_unix_s": now_unix_s})


def _new_secret() -> tuple[str, StoredSecret]:
    secret = f"sk-{secrets.token_urlsafe(_SECRET_BYTES)}"
    return secret, StoredSecret(sha256=hashlib.sha256(secret.encode()).hexdigest())


# --- meaning


@dataclass(frozen=True, slots=True)
class Access:
    """What the configuration file says that issued keys depend on, by name."""

    plans: Mapping[str, Plan]
    rates: Mapping[str, Rates]
    file_keys: Mapping[str, Caller]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a key means now. `caller`: with its own limits alone, where its plan is gone."""

    key: IssuedKey
    caller: Caller
    state: State
    refused: tuple[type[GatewayError], str] | None


def standing(key: IssuedKey, access: Access) -> Standing:
    """What `key` means by this configuration."""
    plan, rates = access.plans.get(key.plan), access.rates.get(key.plan)
    is_planned = plan is not None and rates is not None
    own = (rates or NO_LIMITS).overridden(key.limits)
    caller = Caller(key.name, plan or Plan(key.plan, ()), own)
    state: State = "active"
    refused: tuple[type[GatewayError], str] | None = None
    if key.name in access.file_keys:
        state, refused = "replaced_by_file", (Unauthenticated, "incorrect API key provided")
    elif key.is_disabled:
        state, refused = "disabled", _DISABLED
    elif not is_planned:
        told = f'the plan "{key.plan}" of this API key is not there any more: ask the operator'
        state, refused = "plan_not_found", (PlanNotFound, told)
    return Standing(key, caller, state, refused)


def ring_of(
    standings: Iterable[Standing], unix_s: Callable[[], float], *, is_known: bool
) -> IssuedRing:
    """Every secret of these keys."""
    found = {
        bytes.fromhex(secret.sha256): IssuedSecret(
            one.caller,
            math.inf if secret.ends_unix_s is None else secret.ends_unix_s,
            one.refused,
        )
        for one in standings
        for secret in one.key.secrets
    }
    return IssuedRing(found, unix_s, is_known=is_known)
