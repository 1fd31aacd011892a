from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.choice import Choose
from gateway.config.schema import json_schema
from tests.support.configs import a_document, a_model


@pytest.mark.parametrize("by", ["first", "weighted", "spill"])
def test_a_word_stands_for_the_mapping(by: str) -> None:
    assert Choose.model_validate(by) == Choose.model_validate({"by": by})


def test_the_schema_knows_both_forms() -> None:
    word, mapping = json_schema()["$defs"]["Choose"]["anyOf"]
    assert word == {"enum": ["first", "weighted", "spill"]}
    assert set(mapping["properties"]) == set(Choose.model_fields)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"waiting": 1}, "thresholds of `by: spill`"),
        ({"by": "first", "ttft_s": 1}, "thresholds of `by: spill`"),
        ({"by": "spill", "sticky": "user"}, "sticky is for `by: weighted`"),
        ({"by": "spill", "ttft_s": 0}, "greater than 0"),
        ("best", "'first', 'weighted' or 'spill'"),
    ],
)
def test_what_contradicts_itself_is_refused(given: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Choose.model_validate(given)


def test_a_plan_may_choose_otherwise() -> None:
    given = {"name": "p", "choose": {"by": "spill", "ttft_s": 1}}
    document = a_document(a_model("m", choose="first"), plans=[given])
    assert document.plans[0].choose == Choose(by="spill", ttft_s=1)
    assert a_document(plans=[{"name": "p"}]).plans[0].choose is None
