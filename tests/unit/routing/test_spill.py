import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.choice import Choose
from gateway.routing.spill import CALM, Strain, behind, by_excess, excess, own
from tests.support.configs import a_catalog, a_model, a_variant

LINE = Choose(by="spill", waiting=4)
TTFT = Choose(by="spill", ttft_s=2)
BOTH = Choose(by="spill", waiting=4, ttft_s=2)
ROUTE = tuple(
    variant
    for model in a_catalog(
        a_model("m", variants=[a_variant("bf16"), a_variant("fp8"), a_variant("int4")]),
        a_model("n"),
    ).models.values()
    for variant in model.variants
)
STRAINS = st.builds(
    Strain, st.integers(0, 9), st.none() | st.floats(0, 9), st.sampled_from([True, True, False])
)
RULES = st.sampled_from([Choose(by="spill"), LINE, TTFT, BOTH])


def names(route: object) -> list[str]:
    return [variant.name for variant in route]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("strain", "rules", "over"),
    [
        (Strain(0), Choose(by="spill"), False),
        (Strain(1), Choose(by="spill"), True),
        (Strain(4), LINE, False),
        (Strain(5), LINE, True),
        (Strain(0, 100.0), LINE, False),
        (Strain(9, 2.0), TTFT, False),
        (Strain(0, 2.1), TTFT, True),
        (Strain(9, None), TTFT, False),
        (Strain(5, 1.0), BOTH, True),
        (Strain(1, 3.0), BOTH, True),
        (Strain(1, 1.0), BOTH, False),
    ],
)
def test_beyond_a_threshold_is_beyond(strain: Strain, rules: Choose, over: bool) -> None:
    assert (excess(strain, rules, was_over=False) > 0) is over


def test_what_was_beyond_must_be_well_within_to_be_back() -> None:
    for strain, back in [(Strain(3), True), (Strain(4), False)]:
        assert (excess(strain, LINE, was_over=True) == 0) is back
    for ttft_s, back in [(2 * CALM, True), (1.9, False)]:
        assert (excess(Strain(0, ttft_s), TTFT, was_over=True) == 0) is back


def test_who_cannot_answer_is_beyond_everything() -> None:
    assert excess(Strain(is_usable=False), TTFT, was_over=False) == math.inf


@pytest.mark.parametrize(
    ("excesses", "order"),
    [
        ([0], ["m:bf16", "m:fp8", "m:int4", "n"]),
        ([2, 0], ["m:fp8", "m:bf16", "m:int4", "n"]),
        ([2, 0, 0], ["m:fp8", "m:bf16", "m:int4", "n"]),
        ([3, 2, 0], ["m:int4", "m:fp8", "m:bf16", "n"]),
        ([2, 3, 4], ["m:bf16", "m:fp8", "m:int4", "n"]),
        ([4, math.inf, 3], ["m:int4", "m:bf16", "m:fp8", "n"]),
        ([], ["m:bf16", "m:fp8", "m:int4", "n"]),
    ],
)
def test_the_first_within_goes_first_else_the_least_bad(
    excesses: list[float], order: list[str]
) -> None:
    assert names(by_excess(ROUTE, excesses)) == order


@given(st.lists(STRAINS, min_size=3, max_size=3), RULES, st.booleans())
def test_never_one_that_is_strained_while_a_better_one_is_not(
    strains: list[Strain], rules: Choose, was_over: bool
) -> None:
    excesses = [excess(one, rules, was_over=was_over) for one in strains]
    first = by_excess(ROUTE, excesses)[0]
    place = ROUTE.index(first)
    assert all(excesses[better] > 0 for better in range(place)), "the best that is within"
    if excesses[place] > 0:
        assert excesses[place] == min(excesses), "the least bad, where none is"


@given(st.lists(st.floats(0, 9), max_size=3))
def test_nobody_is_lost_and_fallbacks_stay_behind(excesses: list[float]) -> None:
    route = by_excess(ROUTE, excesses)
    assert sorted(names(route)) == sorted(names(ROUTE))
    assert route[-1].name == "n"


def test_a_models_own_variants_are_those_before_any_others() -> None:
    assert names(own(ROUTE)) == ["m:bf16", "m:fp8", "m:int4"]
    assert names(own(ROUTE[3:])) == ["n"]


def test_one_may_be_put_behind_the_others_of_its_model() -> None:
    assert names(behind(ROUTE, "m:bf16")) == ["m:fp8", "m:int4", "m:bf16", "n"]
    assert names(behind(ROUTE, "n")) == names(ROUTE)
