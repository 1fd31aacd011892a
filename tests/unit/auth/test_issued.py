import hashlib
import json
import re
from typing import Any

import pytest

from gateway.auth.issued import (
    Access,
    IssuedKey,
    StoredSecret,
    created,
    read_record,
    ring_of,
    rotated,
    standing,
    switched,
)
from gateway.auth.keys import Caller, Plan
from gateway.config.access import Rates
from gateway.errors import GatewayError, PlanNotFound, Unauthenticated

NOW_S = 1_700_000_000.0
PLAN = Plan("p", ("*",))
ACCESS = Access(
    {"p": PLAN}, {"p": Rates(requests_per_minute=60, tokens_per_minute=1000)}, file_keys={}
)


def a_key(name: str = "team", plan: str = "p", **limits: Any) -> tuple[IssuedKey, str]:
    return created(name, plan, Rates(**limits), NOW_S)


def caller_of(key: IssuedKey, secret: str, now_s: float = NOW_S) -> str | None:
    ring = ring_of([standing(key, ACCESS)], lambda: now_s, is_known=True)
    caller = ring.caller(hashlib.sha256(secret.encode()).digest())
    return None if caller is None else caller.name


# --- records


def test_a_secret_is_long_random_and_safe_in_a_url() -> None:
    secrets = {a_key()[1] for _ in range(50)}
    assert len(secrets) == 50
    assert all(re.fullmatch(r"sk-[A-Za-z0-9_-]{32,}", secret) for secret in secrets)


def test_a_record_holds_no_secret() -> None:
    key, secret = a_key()
    assert secret not in key.as_text()
    assert secret not in repr(key)
    assert hashlib.sha256(secret.encode()).hexdigest() in key.as_text()


@pytest.mark.parametrize(
    "limits", [{}, {"tokens_per_minute": None}, {"burst": {"requests_per_minute": 3}}]
)
def test_a_record_is_read_as_it_was_written_nulls_included(limits: dict[str, Any]) -> None:
    key, _ = a_key(**limits)
    again = read_record(key.as_text())
    assert again == key
    assert again.limits.model_dump(exclude_unset=True) == limits


def test_what_a_newer_version_wrote_besides_is_passed_over() -> None:
    key, _ = a_key()
    newer = json.loads(key.as_text()) | {"colour": "blue"}
    assert read_record(json.dumps(newer)).name == "team"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "sk-team"}'])
def test_a_record_that_cannot_be_read_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read by this version") as told:
        read_record(text)
    assert "sk-team" not in str(told.value)


# --- changes


def test_a_rotated_key_has_two_secrets_until_the_grace_is_over() -> None:
    key, old = a_key()
    after, new = rotated(key, 60.0, NOW_S)
    assert old != new
    assert caller_of(after, new) == caller_of(after, old) == "team"
    assert caller_of(after, old, NOW_S + 59.9) == "team"
    assert caller_of(after, old, NOW_S + 60) is None
    assert caller_of(after, new, NOW_S + 1e9) == "team"
    assert after.old_secret_ends(NOW_S) == NOW_S + 60
    assert after.old_secret_ends(NOW_S + 60) is None
    assert key.old_secret_ends(NOW_S) is None


def test_without_grace_the_old_secret_ends_at_once() -> None:
    key, old = a_key()
    after, new = rotated(key, 0.0, NOW_S)
    assert caller_of(after, old) is None
    assert caller_of(after, new) == "team"


def test_there_are_never_more_than_two_secrets() -> None:
    key, first = a_key()
    key, second = rotated(key, 60.0, NOW_S)
    key, third = rotated(key, 60.0, NOW_S)
    assert [caller_of(key, one) for one in (first, second, third)] == [None, "team", "team"]


def test_a_key_without_a_secret_can_be_given_one() -> None:
    key = a_key()[0].model_copy(update={"secrets": ()})
    after, secret = rotated(key, 60.0, NOW_S)
    assert len(after.secrets) == 1
    assert caller_of(after, secret) == "team"


def test_a_key_is_switched_once() -> None:
    key, _ = a_key()
    off = switched(key, is_disabled=True, now_unix_s=NOW_S + 5)
    assert off.is_disabled
    assert off.changed_unix_s == NOW_S + 5
    assert switched(off, is_disabled=True, now_unix_s=NOW_S + 9) is off
    assert not switched(off, is_disabled=False, now_unix_s=NOW_S + 9).is_disabled


# --- meaning


def test_an_active_key_has_its_plan_and_its_own_numbers_instead() -> None:
    now = standing(a_key(tokens_per_minute=None, concurrent_requests=2)[0], ACCESS)
    assert now.state == "active"
    assert now.refused is None
    assert now.caller.plan is PLAN
    assert now.caller.rates.requests_per_minute == 60
    assert now.caller.rates.tokens_per_minute is None
    assert now.caller.rates.concurrent_requests == 2


@pytest.mark.parametrize(
    ("access", "is_disabled", "state", "kind"),
    [
        (ACCESS, True, "disabled", Unauthenticated),
        (Access({}, {}, {}), False, "plan_not_found", PlanNotFound),
        (Access({}, {}, {}), True, "disabled", Unauthenticated),
        (
            Access(ACCESS.plans, ACCESS.rates, {"team": Caller("team", PLAN)}),
            False,
            "replaced_by_file",
            Unauthenticated,
        ),
    ],
)
def test_a_key_that_may_not_call(
    access: Access, is_disabled: bool, state: str, kind: type[GatewayError]
) -> None:
    key = a_key(requests_per_minute=7)[0].model_copy(update={"is_disabled": is_disabled})
    now = standing(key, access)
    assert now.state == state
    assert now.refused is not None
    assert now.refused[0] is kind
    assert now.caller.rates.requests_per_minute == 7
    (secret,) = key.secrets
    with pytest.raises(kind):
        ring_of([now], lambda: NOW_S, is_known=True).caller(bytes.fromhex(secret.sha256))


def test_a_disabled_key_says_so() -> None:
    key = switched(a_key()[0], is_disabled=True, now_unix_s=NOW_S)
    assert standing(key, ACCESS).refused == (Unauthenticated, "this API key is disabled")


def test_a_digest_is_hex() -> None:
    with pytest.raises(ValueError, match="sha256"):
        StoredSecret(sha256="x" * 64)
