from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.access import Key, Limited, Limits, Plan, Rates


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


@pytest.mark.parametrize(
    ("own", "limits", "bursts"),
    [
        ({}, {"requests_per_minute": 60, "tokens_per_day": 1000}, {"requests_per_minute": 5}),
        (
            {"requests_per_minute": 120, "concurrent_requests": 3},
            {"requests_per_minute": 120, "tokens_per_day": 1000, "concurrent_requests": 3},
            {},
        ),
        (
            {"requests_per_minute": 120, "burst": {"requests_per_minute": 7}},
            {"requests_per_minute": 120, "tokens_per_day": 1000},
            {"requests_per_minute": 7},
        ),
        (
            {"burst": {"requests_per_minute": 7}},
            {"requests_per_minute": 60, "tokens_per_day": 1000},
            {"requests_per_minute": 7},
        ),
        ({"requests_per_minute": None}, {"tokens_per_day": 1000}, {}),
    ],
)
def test_a_keys_own_numbers_replace_the_plans(
    own: dict[str, Any], limits: dict[str, int], bursts: dict[str, int]
) -> None:
    plan = Plan.model_validate(
        {
            "name": "p",
            "requests_per_minute": 60,
            "tokens_per_day": 1000,
            "burst": {"requests_per_minute": 5},
        }
    )
    got = plan.overridden(Rates.model_validate(own))
    assert got.model_dump(exclude_none=True, exclude={"burst"}) == limits
    assert got.burst.model_dump(exclude_none=True) == bursts
    assert not got.without_rate()


def test_a_burst_needs_the_limit_that_it_belongs_to() -> None:
    with pytest.raises(ValidationError, match=r"burst\.tokens_per_day: there is no tokens_per_day"):
        Limited.model_validate({"requests_per_day": 5, "burst": {"tokens_per_day": 5}})
    assert Rates.model_validate({"burst": {"tokens_per_day": 5}}).without_rate() == [
        "tokens_per_day"
    ]


def test_whether_anything_is_limited() -> None:
    assert not Rates().are_any
    assert Rates(tokens_per_hour=1).are_any
