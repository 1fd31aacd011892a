import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.names import find_gguf, find_quantization


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("FP8", "fp8"),
        ("w8a8", "int8"),
        ("awq_marlin", "awq"),
        ("none", "bf16"),
        ("nf4", "bitsandbytes"),
    ],
)
def test_a_quantization_goes_by_many_names(name: str, found: str) -> None:
    assert find_quantization(name).name == found


@pytest.mark.parametrize(
    ("name", "found"),
    [("Q4_K_M", "q4_k_m"), ("gguf-q8_0", "q8_0"), ("q4-0", "q4_0"), ("fp16", "f16")],
)
def test_a_gguf_type_is_written_in_any_case(name: str, found: str) -> None:
    assert find_gguf(name).name == found


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(PlanInvalid, match='"fp7" is not known; known: bf16, fp8, int8, awq'):
        find_quantization("fp7")
    with pytest.raises(PlanInvalid, match='GGUF type "q9" is not known; known: f32'):
        find_gguf("q9")
