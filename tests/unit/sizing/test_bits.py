import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sizing.bits import bits_of
from gateway.sizing.quantization import GGUF, QUANTIZATIONS


@pytest.mark.parametrize(
    ("tag", "bits"),
    [
        ("bf16", 16),
        ("fp16", 16),
        ("float16", 16),
        ("half", 16),
        ("fp32", 32),
        ("fp8", 8),
        ("FP8-dynamic", 8),
        ("fp8_e4m3", 8),
        ("int8", 8),
        ("w8a8", 8),
        ("w4a16", 4.125),
        ("w4a8", 4),
        ("awq", 4.15625),
        ("awq-int4", 4),
        ("awq_marlin", 4.15625),
        ("gptq", 4.15625),
        ("gptq-int8", 8),
        ("gptq-8bit", 8),
        ("8-bit", 8),
        ("nvfp4", 4.5),
        ("mxfp4", 4.25),
        ("bnb-nf4", 4),
        ("bnb", 4.5),
        ("q8_0", 8.5),
        ("Q4_K_M", 4.89),
        ("gguf-q4_k_m", 4.89),
        ("ud-q4_k_xl", 4),
        ("iq2_xxs", 2.38),
        ("eetq", 8),
    ],
)
def test_what_people_write_as_tags_tells_the_bits(tag: str, bits: float) -> None:
    assert bits_of(tag) == pytest.approx(bits)


@pytest.mark.parametrize("tag", ["blue", "large", "v2", "int0", "int99", "instruct-2024", "a16"])
def test_other_names_tell_nothing(tag: str) -> None:
    assert bits_of(tag) is None


def test_of_several_widths_the_smallest_counts() -> None:
    assert bits_of("bf16-kv-fp8") == 8


@given(st.sampled_from([*QUANTIZATIONS, *GGUF]))
def test_every_quantization_that_is_planned_with_has_its_bits(one: object) -> None:
    name, bits = one.name, one.bits  # type: ignore[attr-defined]
    assert bits_of(name) == (16 if bits is None else bits)


@given(st.text())
def test_no_name_is_too_strange(name: str) -> None:
    bits = bits_of(name)
    assert bits is None or 1 <= bits <= 64
