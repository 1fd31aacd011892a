from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.configs import a_document, a_model


def test_wake_has_defaults_and_is_off_unless_given() -> None:
    (model,) = a_document(a_model(wake={})).models
    (variant,) = model.variants
    assert variant.wake is not None
    assert (variant.wake.method, variant.wake.max_wait_s, variant.wake.max_waiting) == (
        "wait",
        600,
        100,
    )
    assert not variant.sleeps
    assert a_document(a_model(wake={"method": "vllm-sleep"})).models[0].variants[0].sleeps
    assert a_document(a_model()).models[0].variants[0].wake is None
    assert not a_document(a_model()).models[0].variants[0].sleeps


@pytest.mark.parametrize(
    ("wake", "engine", "problem"),
    [
        ({"sleep_after_s": 60}, "vllm", "sleep_after_s needs method: vllm-sleep"),
        ({"method": "vllm-sleep"}, "tgi", "method vllm-sleep needs engine: vllm"),
        ({"max_waiting": 0}, "vllm", "greater than or equal to 1"),
        ({"method": "vllm-sleep", "sleep_after_s": 1}, "vllm", "greater than or equal to 5"),
    ],
)
def test_what_makes_no_sense_is_told(wake: dict[str, Any], engine: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        a_document(a_model(wake=wake) | {"engine": engine})
