from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.access import Key, Limits, Plan


def test_a_plan_allows_everything_without_limits_unless_it_says_otherwise() -> None:
    plan = Plan(name="p")
    assert plan.models == ("*",)
    assert plan.requests_per_minute is plan.tokens_per_minute is plan.concurrent_requests is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a b"},
        {"models": []},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -1},
        {"concurrent_requests": 1.5},
    ],
)
def test_what_a_plan_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Plan.model_validate({"name": "p", **wrong})


def test_a_key_has_the_default_plan_unless_it_says_otherwise() -> None:
    assert Key(name="k", sha256="a" * 64).plan == "default"


@pytest.mark.parametrize("given", [{}, {"secret": {"value": "s"}, "sha256": "a" * 64}])
def test_a_key_has_exactly_one_source(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of secret, sha256"):
        Key.model_validate({"name": "k", **given})


@pytest.mark.parametrize("digest", ["a" * 63, "g" * 64, ""])
def test_a_digest_is_64_hex_digits(digest: str) -> None:
    with pytest.raises(ValidationError):
        Key.model_validate({"name": "k", "sha256": digest})


def test_limits_are_counted_in_memory_unless_redis_is_named() -> None:
    assert Limits().store == "memory"
    limits = Limits.model_validate({"store": "redis", "redis_url": {"from_env": "R"}})
    assert limits.redis_url is not None


def test_the_store_redis_needs_an_address() -> None:
    with pytest.raises(ValidationError, match="needs redis_url"):
        Limits(store="redis")
