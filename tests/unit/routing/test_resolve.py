import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.auth.keys import Plan
from gateway.errors import ModelNotAllowed, ModelNotFound
from gateway.fleet.catalog import Catalog
from gateway.routing.resolve import resolve
from tests.support.configs import a_catalog, a_model, a_variant

EVERYTHING = Plan("everything", ("*",))
LLAMA = a_model(
    "llama", aliases=["gpt-4o"], variants=[a_variant("fp8"), a_variant("awq")], fallbacks=["small"]
)
SMALL = a_model("small")


def names(catalog: Catalog, asked: str, plan: Plan = EVERYTHING, seed: int = 0) -> list[str]:
    return [variant.name for variant in resolve(catalog, asked, plan, random.Random(seed))]


def not_found(asked: str, *models: dict[str, Any], plan: Plan = EVERYTHING) -> str:
    with pytest.raises(ModelNotFound) as unknown:
        resolve(a_catalog(*models or (LLAMA, SMALL)), asked, plan, random.Random(0))
    assert unknown.value.param == "model"
    return unknown.value.public


def test_a_name_goes_to_its_variants_in_order_and_then_to_its_fallbacks() -> None:
    assert names(a_catalog(LLAMA, SMALL), "llama") == ["llama:fp8", "llama:awq", "small"]


def test_an_alias_goes_where_its_model_goes() -> None:
    catalog = a_catalog(LLAMA, SMALL)
    assert names(catalog, "gpt-4o") == names(catalog, "llama")


@pytest.mark.parametrize("asked", ["llama:awq", "gpt-4o:awq"])
def test_a_tag_pins(asked: str) -> None:
    assert names(a_catalog(LLAMA, SMALL), asked) == ["llama:awq"]


def test_a_model_with_one_variant_goes_there() -> None:
    assert names(a_catalog(SMALL), "small") == ["small"]


def test_an_exact_name_wins_over_a_tag() -> None:
    catalog = a_catalog(a_model("qwen:7b"), a_model("qwen", variants=[a_variant("q4")]))
    assert names(catalog, "qwen:7b") == ["qwen:7b"]
    assert names(catalog, "qwen:q4") == ["qwen:q4"]


def test_fallbacks_of_fallbacks_follow_each_once_nearest_first() -> None:
    catalog = a_catalog(
        a_model("a", fallbacks=["b", "c"]),
        a_model("b", fallbacks=["d"]),
        a_model("c", fallbacks=["d"]),
        a_model("d"),
    )
    assert names(catalog, "a") == ["a", "b", "c", "d"]


@given(st.integers())
def test_weights_choose_the_first_and_the_others_follow_in_order(seed: int) -> None:
    variants = [a_variant("a", weight=1), a_variant("b"), a_variant("c", weight=3)]
    route = names(a_catalog(a_model("m", variants=variants)), "m", seed=seed)
    assert route in (["m:a", "m:b", "m:c"], ["m:c", "m:a", "m:b"])


def test_weights_are_kept_in_proportion() -> None:
    variants = [a_variant("a", weight=1), a_variant("b", weight=3)]
    catalog, rng = a_catalog(a_model("m", variants=variants)), random.Random(0)
    first = [resolve(catalog, "m", EVERYTHING, rng)[0].tag for _ in range(4000)]
    assert 0.72 < first.count("b") / len(first) < 0.78


def test_a_plan_leaves_out_what_it_does_not_include() -> None:
    catalog = a_catalog(LLAMA, SMALL)
    assert names(catalog, "llama", Plan("p", ("llama:awq", "small"))) == ["llama:awq", "small"]
    assert names(catalog, "llama", Plan("p", ("llama",))) == ["llama:fp8", "llama:awq"]


@pytest.mark.parametrize("asked", ["llama", "gpt-4o", "llama:fp8"])
def test_a_model_outside_the_plan_is_not_allowed_even_if_its_fallback_is(asked: str) -> None:
    with pytest.raises(ModelNotAllowed, match=f'your plan does not include "{asked}"') as refused:
        resolve(a_catalog(LLAMA, SMALL), asked, Plan("p", ("small",)), random.Random(0))
    assert refused.value.param == "model"


def test_a_tag_outside_the_plan_is_not_allowed() -> None:
    with pytest.raises(ModelNotAllowed):
        names(a_catalog(LLAMA, SMALL), "llama:fp8", Plan("p", ("llama:awq",)))


def test_an_unknown_name_is_told_what_is_near() -> None:
    assert (
        not_found("lama")
        == 'model "lama" is not served here; did you mean llama or llama:fp8 or llama:awq?'
    )


def test_another_case_is_near() -> None:
    model = a_model("M")
    assert not_found("m", model) == 'model "m" is not served here; did you mean M?'


def test_an_unknown_name_near_nothing_is_told_where_to_look() -> None:
    assert not_found("xyzzy") == ('model "xyzzy" is not served here; GET /v1/models lists what is')


def test_an_unknown_tag_is_told_what_there_is() -> None:
    assert not_found("llama:gptq") == ('model "llama:gptq" is not served here; available: fp8, awq')


def test_an_unknown_tag_of_a_model_without_tags() -> None:
    assert not_found("small:fp8") == (
        'model "small:fp8" is not served here; ask for "small" without a tag'
    )


def test_a_tag_behind_a_tag_is_an_unknown_name() -> None:
    assert "did you mean" in not_found("llama:fp8:x")


def test_what_a_plan_does_not_include_is_not_told() -> None:
    assert "llama" not in not_found("lama", plan=Plan("p", ("small",))).replace('"lama"', "")
    assert not_found("llama:gptq", plan=Plan("p", ("llama:awq", "small"))) == (
        'model "llama:gptq" is not served here; did you mean llama:awq?'
    )


def test_a_name_longer_than_any_is_cut_and_not_looked_for() -> None:
    """Similar names were looked for however long the name was. A megabyte took seconds."""
    told = not_found("llama:" + "x" * 1_000_000)
    assert len(told) < 500
    assert told.endswith('…" is not served here')


@given(st.text(max_size=30))
def test_an_unknown_name_is_repeated_to_the_client(asked: str) -> None:
    catalog = a_catalog(LLAMA, SMALL)
    assume(asked not in catalog.names)
    with pytest.raises(ModelNotFound) as unknown:
        names(catalog, asked)
    assert asked in unknown.value.public
