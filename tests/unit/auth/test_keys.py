import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import Caller, IssuedRing, IssuedSecret, KeyRing, Plan
from gateway.errors import GatewayError, KeysUnavailable, PlanNotFound, Unauthenticated

PLAN = Plan("p", ("*",))
ALICE = Caller("alice", PLAN)


def a_ring(key: str = "s3cret") -> KeyRing:
    return KeyRing({hashlib.sha256(key.encode()).digest(): ALICE}, None)


def test_a_plan_with_a_star_allows_everything() -> None:
    plan = Plan("p", ("a", "*"))
    assert plan.is_unrestricted
    assert plan.allows("anything:at-all")


@pytest.mark.parametrize(
    ("pattern", "model", "is_allowed"),
    [
        ("llama", "llama", True),
        ("llama", "llama:fp8", True),
        ("llama:fp8", "llama:fp8", True),
        ("llama:fp8", "llama:awq", False),
        ("llama:fp8", "llama", False),
        ("llama:*", "llama", False),
        ("llama*", "llama-2:fp8", True),
        ("*:fp8", "llama:fp8", True),
        ("*:fp8", "llama:awq", False),
        ("llama", "llama-2", False),
        ("LLAMA", "llama", False),
        ("", ":fp8", False),
        ("org/m[12]", "org/m1", True),
    ],
)
def test_a_pattern_over_names_and_tags(pattern: str, model: str, is_allowed: bool) -> None:
    plan = Plan("p", (pattern,))
    assert plan.allows(model) is is_allowed
    assert plan.allows(model) is is_allowed, "also when it is remembered"


@given(st.lists(st.text(max_size=5), max_size=4), st.text(max_size=8))
def test_whoever_may_use_a_model_may_use_each_of_its_variants(
    patterns: list[str], model: str
) -> None:
    plan = Plan("p", patterns)
    if model and plan.allows(model):
        assert plan.allows(f"{model}:fp8")


@pytest.mark.parametrize("given", [None, b"", b"Bearer whatever", b"junk"])
def test_without_keys_everybody_is_anonymous(given: bytes | None) -> None:
    anonymous = Caller("anonymous", PLAN)
    assert KeyRing({}, anonymous).caller(given) is anonymous


@pytest.mark.parametrize(
    "given", [b"Bearer s3cret", b"bearer s3cret", b"BEARER s3cret", b"Bearer   s3cret "]
)
def test_a_key_names_its_caller(given: bytes) -> None:
    assert a_ring().caller(given) is ALICE


def test_without_a_credential_the_client_is_told_how_to_send_one() -> None:
    with pytest.raises(Unauthenticated, match="Authorization: Bearer KEY"):
        a_ring().caller(None)


@pytest.mark.parametrize(
    "given",
    [b"", b"s3cret", b"Bearer", b"Bearer ", b"Basic s3cret", b"Bearer S3CRET", b"Bearer \xff"],
)
def test_any_other_credential_is_nobodys(given: bytes) -> None:
    with pytest.raises(Unauthenticated, match="incorrect API key"):
        a_ring().caller(given)


@given(st.binary(max_size=60))
def test_no_credential_breaks_the_lookup(given: bytes) -> None:
    try:
        assert a_ring().caller(given) is ALICE
    except Unauthenticated:
        assert given.partition(b" ")[2].strip() != b"s3cret" or given[:6].lower() != b"bearer"


def test_a_digest_is_no_key() -> None:
    digest = hashlib.sha256(b"s3cret")
    for known in (digest.digest(), digest.hexdigest().encode()):
        with pytest.raises(Unauthenticated):
            a_ring().caller(b"Bearer " + known)


# --- keys made at run time


NOW_S = 1_700_000_000.0


def an_issued_ring(
    secret: str = "sk-issued",
    *,
    ends_s: float = math.inf,
    refused: tuple[type[GatewayError], str] | None = None,
    is_known: bool = True,
) -> IssuedRing:
    digest = hashlib.sha256(secret.encode()).digest()
    one = IssuedSecret(Caller("issued", PLAN), ends_s, refused)
    return IssuedRing({digest: one}, lambda: NOW_S, is_known=is_known)


def test_an_issued_key_names_its_caller_beside_those_of_the_file() -> None:
    ring = a_ring().with_issued(an_issued_ring())
    assert ring.caller(b"Bearer sk-issued").name == "issued"
    assert ring.caller(b"Bearer s3cret") is ALICE


def test_a_key_of_the_file_wins_over_an_issued_one() -> None:
    assert a_ring().with_issued(an_issued_ring("s3cret")).caller(b"Bearer s3cret") is ALICE


@pytest.mark.parametrize("given", [b"Bearer sk-other", b"Basic sk-issued", b"sk-issued"])
def test_what_nobody_issued_is_refused(given: bytes) -> None:
    with pytest.raises(Unauthenticated, match="incorrect API key"):
        a_ring().with_issued(an_issued_ring()).caller(given)


@pytest.mark.parametrize(("left_s", "is_good"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_a_secret_is_good_until_its_end(left_s: float, is_good: bool) -> None:
    ring = an_issued_ring(ends_s=NOW_S + left_s)
    assert (ring.caller(hashlib.sha256(b"sk-issued").digest()) is not None) is is_good


@pytest.mark.parametrize("anonymous", [None, Caller("anonymous", PLAN)])
def test_a_key_that_may_not_call_is_told_why(anonymous: Caller | None) -> None:
    issued = an_issued_ring(refused=(PlanNotFound, "no plan"))
    with pytest.raises(PlanNotFound, match="no plan"):
        KeyRing({}, anonymous, issued).caller(b"Bearer sk-issued")


def test_a_refused_secret_that_has_ended_is_as_unknown_as_any() -> None:
    issued = an_issued_ring(refused=(PlanNotFound, "no plan"), ends_s=NOW_S)
    with pytest.raises(Unauthenticated, match="incorrect API key"):
        KeyRing({}, None, issued).caller(b"Bearer sk-issued")


@pytest.mark.parametrize("given", [None, b"Bearer whatever", b"junk"])
@pytest.mark.parametrize("is_known", [True, False])
def test_an_anonymous_gateway_knows_issued_keys_and_everybody_else_stays_anonymous(
    given: bytes | None, is_known: bool
) -> None:
    anonymous = Caller("anonymous", PLAN)
    ring = KeyRing({}, anonymous, an_issued_ring(is_known=is_known))
    assert ring.caller(given) is anonymous
    assert ring.caller(b"Bearer sk-issued").name == "issued"
    assert ring.anonymous is anonymous


def test_while_nobody_knows_which_keys_there_are_an_unknown_one_may_try_again() -> None:
    ring = a_ring().with_issued(an_issued_ring(is_known=False))
    with pytest.raises(KeysUnavailable) as told:
        ring.caller(b"Bearer sk-other")
    assert told.value.retry_after_s
    assert ring.caller(b"Bearer s3cret") is ALICE
    with pytest.raises(Unauthenticated, match="incorrect"):
        ring.caller(b"Basic sk-other")


def test_the_callers_of_the_file_have_names() -> None:
    assert a_ring().with_issued(an_issued_ring()).of_file() == {"alice": ALICE}
