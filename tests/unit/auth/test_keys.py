import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import Caller, KeyRing, Plan
from gateway.errors import Unauthenticated

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
