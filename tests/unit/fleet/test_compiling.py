import hashlib
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.issued import created, ring_of, standing
from gateway.config.access import Rates
from gateway.errors import ConfigInvalid, Unauthenticated
from gateway.fleet.compiling import compile_catalog
from gateway.routing import POLICIES
from gateway.wire.http import Origin
from tests.support.configs import a_catalog, a_document, a_model, a_variant


def problems(*models: dict[str, Any], **more: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as invalid:
        a_catalog(*models, **more)
    return invalid.value.problems


TWO_QUANTIZATIONS = [a_variant("fp8"), a_variant("awq")]


def test_names_are_models_aliases_and_both_with_every_tag() -> None:
    catalog = a_catalog(a_model("m", aliases=["n"], variants=TWO_QUANTIZATIONS))
    assert list(catalog.names) == ["m", "n", "m:fp8", "n:fp8", "m:awq", "n:awq"]
    assert catalog.names["n"].model is catalog.models["m"]
    assert catalog.names["n"].variant is None
    assert catalog.names["n:awq"].variant is catalog.models["m"].variants[1]


def test_a_variant_without_a_tag_is_named_as_its_model() -> None:
    catalog = a_catalog(a_model("m", variants=[a_variant(None, "http://h")]))
    assert catalog.models["m"].variants[0].name == "m"
    assert list(catalog.names) == ["m"]


def test_the_engine_is_asked_for_the_models_name_unless_another_is_given() -> None:
    catalog = a_catalog(a_model("a"), a_model("b", served_model="org/b"))
    assert catalog.models["a"].variants[0].served_model == "a"
    assert catalog.models["b"].variants[0].served_model == "org/b"


def test_what_is_written_for_a_model_holds_for_its_variants() -> None:
    model = a_model("m", policy="round-robin", timeouts={"idle_s": 7}, variants=TWO_QUANTIZATIONS)
    for variant in a_catalog(model).models["m"].variants:
        assert variant.policy == "round-robin"
        assert variant.timeouts.idle_s == 7


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://h", Origin("http", "h", 80)),
        ("https://h", Origin("https", "h", 443)),
        ("http://H:8000/", Origin("http", "h", 8000)),
        ("http://h/behind/", Origin("http", "h", 80, "/behind")),
        ("http://[::1]:8000", Origin("http", "::1", 8000)),
    ],
)
def test_where_a_replica_listens(url: str, origin: Origin) -> None:
    replica = a_catalog(a_model("m", url=url)).models["m"].variants[0].replicas[0]
    assert replica.origin == origin


def test_the_address_of_an_ipv6_replica_keeps_its_brackets() -> None:
    """The brackets were lost. Probes then went to no valid address, and the replica stayed out."""
    replica = a_catalog(a_model("m", url="http://[::1]:8000/x")).models["m"].variants[0].replicas[0]
    assert replica.url == "http://[::1]:8000/x"


def test_replicas_are_numbered_unless_they_have_names() -> None:
    replicas = [{"url": "http://a", "name": "gpu-1"}, {"url": "http://b", "weight": 3}]
    catalog = a_catalog({"name": "m", "engine": "vllm", "replicas": replicas})
    first, second = catalog.models["m"].variants[0].replicas
    assert (first.name, first.weight) == ("gpu-1", 1)
    assert (second.name, second.weight) == ("r1", 3)


def test_one_address_is_one_replica_however_it_is_written() -> None:
    model = {"name": "m", "variants": [a_variant(None, "http://h", "http://H:80/")]}
    assert problems(model) == (
        "models[0].variants[0].replicas[1].url: this replica is there already",
    )


def test_the_same_address_may_serve_two_variants() -> None:
    catalog = a_catalog(
        a_model("m", variants=[a_variant("a", "http://h"), a_variant("b", "http://h")])
    )
    one, other = catalog.models["m"].variants
    assert one.replicas[0].key == other.replicas[0].key


def test_two_replicas_cannot_have_one_name() -> None:
    replicas = [{"url": "http://a", "name": "r1"}, {"url": "http://b"}]
    assert problems({"name": "m", "engine": "vllm", "replicas": replicas}) == (
        'models[0].variants[0].replicas[1].name: "r1" is another replica already',
    )


def test_two_variants_cannot_have_one_tag() -> None:
    twice = [a_variant("fp8", "http://a"), a_variant("fp8", "http://b")]
    assert problems(a_model("m", variants=twice)) == (
        'models[0].variants[1].quantization: another variant has the tag "fp8" already',
    )


def test_only_one_variant_may_have_no_tag() -> None:
    twice = [a_variant(None, "http://a"), a_variant(None, "http://b")]
    assert problems(a_model("m", variants=twice)) == (
        "models[0].variants[1].quantization: another variant has no tag already",
    )


def test_an_unknown_policy_names_those_that_exist() -> None:
    assert problems(a_model("m", policy="random")) == (
        'models[0].policy: "random" is unknown; known: '
        "least-loaded, round-robin, "
        "power-of-two, prefix-affinity",
    )


def test_two_models_cannot_have_one_name() -> None:
    assert problems(a_model("m"), a_model("m")) == (
        'models[1].name: "m" is ambiguous, it is also models[0].name',
    )


def test_an_alias_cannot_be_the_name_of_another_model() -> None:
    assert problems(a_model("a", aliases=["b"]), a_model("b")) == (
        'models[1].name: "b" is ambiguous, it is also models[0].aliases[0]',
    )


def test_a_name_with_a_tag_cannot_be_the_name_of_another_model() -> None:
    assert problems(a_model("m", variants=[a_variant("fp8")]), a_model("m:fp8")) == (
        'models[0].variants[0].quantization: "m:fp8" is ambiguous, it is also models[1].name',
    )


def test_the_place_of_a_clash_is_right_after_a_name_given_twice() -> None:
    """A model whose name was there already was left out of the count. Clashes of tags after it
    were told one model too early.
    """
    models = [a_model("a"), a_model("a"), a_model("b:x"), a_model("b", variants=[a_variant("x")])]
    assert problems(*models) == (
        'models[1].name: "a" is ambiguous, it is also models[0].name',
        'models[3].variants[0].quantization: "b:x" is ambiguous, it is also models[2].name',
    )


def test_a_name_may_contain_a_colon() -> None:
    catalog = a_catalog(a_model("qwen:7b", variants=[a_variant("q4")]))
    assert list(catalog.names) == ["qwen:7b", "qwen:7b:q4"]


def test_a_fallback_is_a_model() -> None:
    assert problems(a_model("a", fallbacks=["c"]), a_model("b", aliases=["c"])) == (
        'models[0].fallbacks[0]: "c" is no model; known: a, b',
    )


def test_fallbacks_cannot_lead_back() -> None:
    models = [
        a_model("a", fallbacks=["b"]),
        a_model("b", fallbacks=["c"]),
        a_model("c", fallbacks=["a"]),
    ]
    assert problems(*models) == (
        'models[0].fallbacks[0]: "b" leads back to "a"',
        'models[1].fallbacks[0]: "c" leads back to "b"',
        'models[2].fallbacks[0]: "a" leads back to "c"',
    )


def test_fallbacks_may_meet_again() -> None:
    catalog = a_catalog(
        a_model("a", fallbacks=["b", "c"]),
        a_model("b", fallbacks=["d"]),
        a_model("c", fallbacks=["d"]),
        a_model("d"),
    )
    assert catalog.models["a"].fallbacks == ("b", "c")


def test_a_plan_names_models_by_patterns() -> None:
    catalog = a_catalog(a_model("llama"), plans=[{"name": "p", "models": ["lla*"]}])
    assert catalog.plans["p"].allows("llama")


def test_a_pattern_that_matches_nothing_is_a_mistake() -> None:
    assert problems(a_model("llama"), plans=[{"name": "p", "models": ["llama", "gpt-*"]}]) == (
        'plans[0].models[1]: no model matches "gpt-*"',
    )


def test_a_plan_names_models_and_not_their_aliases() -> None:
    """A plan that named an alias was accepted and then allowed nothing."""
    model = a_model("llama", aliases=["gpt-4o"])
    assert problems(model, plans=[{"name": "p", "models": ["gpt-4o"]}]) == (
        'plans[0].models[0]: no model matches "gpt-4o"; it is an alias of "llama"',
    )


def test_two_plans_cannot_have_one_name() -> None:
    assert problems(plans=[{"name": "p"}, {"name": "p"}]) == (
        'plans[1].name: the plan "p" is there already',
    )


def test_without_keys_everybody_has_the_default_plan() -> None:
    catalog = a_catalog(a_model("a"), a_model("b"), plans=[{"name": "default", "models": ["a"]}])
    caller = catalog.keys.caller(None)
    assert caller.name == "anonymous"
    assert not caller.plan.allows("b")


def test_without_plans_the_default_plan_is_everything() -> None:
    catalog = a_catalog(keys=[{"name": "k", "secret": {"value": "s"}}])
    assert catalog.keys.caller(b"Bearer s").plan.is_unrestricted


def test_keys_made_at_run_time_stand_beside_those_of_the_file() -> None:
    catalog = a_catalog(
        plans=[{"name": "p", "requests_per_minute": 5}],
        keys=[{"name": "filed", "plan": "p", "secret": {"value": "s"}}],
    )
    access = catalog.access
    assert set(access.plans) == set(access.rates) == {"default", "p"}
    assert access.rates["p"].requests_per_minute == 5
    assert list(access.file_keys) == ["filed"]
    key, secret = created("team", "p", Rates(), 0.0)
    issued = ring_of([standing(key, access)], lambda: 0.0, is_known=True)
    both = catalog.with_issued(issued)
    assert both.keys.caller(f"Bearer {secret}".encode()).plan is catalog.plans["p"]
    assert both.keys.caller(b"Bearer s") is access.file_keys["filed"]
    assert both.models is catalog.models
    with pytest.raises(Unauthenticated):
        catalog.keys.caller(f"Bearer {secret}".encode())


def test_a_key_is_given_by_its_secret_or_its_digest() -> None:
    digest = hashlib.sha256(b"two").hexdigest()
    catalog = a_catalog(
        keys=[
            {"name": "one", "secret": {"from_env": "ONE"}, "plan": "p"},
            {"name": "two", "sha256": digest.upper()},
        ],
        plans=[{"name": "p"}],
        environ={"ONE": "one"},
    )
    assert catalog.keys.caller(b"Bearer one").plan is catalog.plans["p"]
    assert catalog.keys.caller(b"Bearer two").name == "two"


def test_what_is_wrong_with_keys_is_told_at_once() -> None:
    keys = [
        {"name": "k", "secret": {"from_env": "ABSENT"}},
        {"name": "k", "secret": {"value": "s"}, "plan": "gold"},
        {"name": "l", "secret": {"value": "s"}},
    ]
    assert problems(keys=keys, plans=[{"name": "p"}]) == (
        "keys[0].secret: the environment variable ABSENT is not set",
        'keys[1].name: the key "k" is there already',
        'keys[1].plan: "gold" is no plan; known: default, p',
        'keys[2]: this is the key of "k" already',
    )


def test_the_key_of_an_engine_is_read_and_not_shown() -> None:
    catalog = a_catalog(a_model("m", api_key={"from_env": "K"}), environ={"K": "s3cret"})
    assert catalog.models["m"].variants[0].api_key == "s3cret"
    assert "s3cret" not in repr(catalog)


def test_an_engines_key_that_cannot_be_read_is_a_problem() -> None:
    assert problems(a_model("m", api_key={"from_env": "K"})) == (
        "models[0].variants[0].api_key: the environment variable K is not set",
    )


def test_a_certificate_authority_must_be_there(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    model = a_model("m", url="https://h", tls={"ca_file": str(ca_file)})
    assert problems(model) == (
        f"models[0].variants[0].replicas[0]: the tls.ca_file {ca_file} cannot be read",
    )
    ca_file.touch()
    replica = a_catalog(model).models["m"].variants[0].replicas[0]
    assert replica.origin.ca_file == str(ca_file)


def test_a_key_may_have_numbers_of_its_own() -> None:
    catalog = a_catalog(
        plans=[{"name": "p", "requests_per_minute": 60, "tokens_per_day": 9}],
        keys=[
            {
                "name": "k",
                "plan": "p",
                "secret": {"value": "s"},
                "limits": {"requests_per_minute": 5, "tokens_per_day": None},
            },
            {"name": "l", "plan": "p", "secret": {"value": "t"}},
        ],
    )
    own = catalog.keys.caller(b"Bearer s").rates
    assert own.model_dump(exclude_none=True, exclude={"burst"}) == {"requests_per_minute": 5}
    assert catalog.keys.caller(b"Bearer t").rates.tokens_per_day == 9
    assert catalog.rates["p"].requests_per_minute == 60


def test_a_burst_without_its_limit_is_told_at_the_key() -> None:
    keys = [{"name": "k", "sha256": "a" * 64, "limits": {"burst": {"tokens_per_day": 5}}}]
    assert problems(keys=keys) == (
        "keys[0].limits.burst.tokens_per_day: there is no tokens_per_day for this key",
    )


def test_an_empty_list_of_keys_lets_nobody_in() -> None:
    with pytest.raises(Unauthenticated):
        a_catalog(keys=[]).keys.caller(None)


def test_models_and_variants_have_limits() -> None:
    model = a_model(
        "m",
        limits={"tokens_per_minute": 5},
        variants=[a_variant("fp8", limits={"concurrent_requests": 2})],
    )
    (variant,) = a_catalog(model).models["m"].variants
    assert variant.model_limits.tokens_per_minute == 5
    assert variant.limits.concurrent_requests == 2


def test_what_is_served_has_replicas_and_what_is_only_looked_at_may_lack_them() -> None:
    model = {"name": "m", "engine": "vllm", "deploy": {"gpu": "H100"}}
    (told,) = problems(model)
    assert told.startswith("models[0].variants[0].replicas: nothing says where its engines are")
    found = compile_catalog(a_document(model), {}, policies=POLICIES, needs_replicas=False)
    assert found.models["m"].variants[0].replicas == ()


@pytest.mark.parametrize(
    ("more", "bits"),
    [
        ({"quantization": "fp8"}, 8),
        ({"quantization": "fp8", "bits": 7.5}, 7.5),
        ({}, None),
        ({"quantization": "blue"}, None),
        ({"quantization": "blue", "deploy": {}}, None),
        ({"quantization": "blue", "deploy": {"quantization": "awq"}}, 4.15625),
        ({"deploy": {"quantization": "checkpoint"}}, None),
    ],
)
def test_bits_are_those_given_or_those_that_a_name_tells(
    more: dict[str, Any], bits: float | None
) -> None:
    (variant,) = a_catalog(a_model("m", **more)).models["m"].variants
    assert variant.bits == bits


def test_first_tokens_are_timed_where_somebody_wants_to_know() -> None:
    def timed(**more: Any) -> bool:
        choose = more.pop("choose", "first")
        (variant,) = a_catalog(a_model("m", choose=choose), **more).models["m"].variants
        return variant.times_onsets

    assert not timed()
    assert not timed(choose="spill")
    assert timed(choose={"by": "spill", "ttft_s": 1})
    assert timed(plans=[{"name": "p", "choose": {"by": "spill", "ttft_s": 1}}])
    assert not timed(plans=[{"name": "p", "choose": "spill"}])
