import pytest

from gateway.sizing.gpus import find_gpu
from gateway.sizing.names import find_quantization
from gateway.sizing.parts import Part
from gateway.sizing.quantization import GGUF, QUANTIZATIONS, is_offered, missing_support, widths

# vLLM's hardware table: what its pages tick, by generation
OFFERED = {
    "V100": "bf16 gptq bitsandbytes",
    "T4": "bf16 fp8 int8 awq gptq bitsandbytes eetq",
    "A100": "bf16 fp8 int8 awq gptq w4a16 mxfp4 bitsandbytes eetq",
    "L40S": "bf16 fp8 int8 awq gptq w4a16 mxfp4 bitsandbytes eetq",
    "H100": "bf16 fp8 int8 awq gptq w4a16 mxfp4 bitsandbytes eetq",
    "B200": "bf16 fp8 awq gptq w4a16 nvfp4 mxfp4 bitsandbytes eetq",
    "MI300X": "bf16 fp8 mxfp4 bitsandbytes",
}


@pytest.mark.parametrize(("gpu", "names"), OFFERED.items())
def test_a_gpu_is_offered_what_it_runs(gpu: str, names: str) -> None:
    found = [one.name for one in QUANTIZATIONS if is_offered(one, find_gpu(gpu))]
    assert sorted(found) == sorted(names.split())


def test_what_a_gpu_lacks_is_told() -> None:
    awq, fp8 = find_quantization("awq"), find_quantization("fp8")
    assert missing_support(fp8, find_gpu("V100")) == (
        "fp8 needs compute capability 7.5, the V100-32GB has 7.0"
    )
    assert missing_support(awq, find_gpu("MI300X")) == "awq has no kernels for AMD GPUs"
    assert missing_support(fp8, find_gpu("MI300X")) is None
    assert missing_support(fp8, find_gpu("H100")) is None


def test_only_the_parts_that_are_covered_are_narrow() -> None:
    bits = widths(find_quantization("awq"), 16)
    assert bits[Part.ATTENTION] == 4 + 20 / 128
    assert bits[Part.EMBEDDING] == bits[Part.HEAD] == bits[Part.NORM] == bits[Part.ROUTER] == 16
    assert set(widths(find_quantization("bf16"), 16).values()) == {16}


def test_every_quantization_says_what_it_costs_and_who_says_so() -> None:
    assert all(one.loss and one.loss_source for one in (*QUANTIZATIONS, *GGUF))
    assert {one.name: one.loss for one in GGUF}["q4_0"] == "perplexity +0.4685"
    assert {one.name: one.loss for one in GGUF}["f16"] == "none"
    assert {one.name: one.loss for one in GGUF}["iq4_xs"] == "not published"
