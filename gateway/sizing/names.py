"""A quantization by any of the names that people and engines have for it."""

from collections.abc import Mapping

from gateway.errors import PlanInvalid
from gateway.sizing.quantization import GGUF, QUANTIZATIONS, Quantization

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "bf16": ("none", "auto", "fp16", "float16", "bfloat16", "half", "16-bit"),
    "fp32": ("float32", "float"),
    "fp8": (
        "fp8_per_tensor", "fp8_per_channel", "fp8_per_block", "fp8_e4m3", "w8a8-fp8",
        "fp8-dynamic", "fp8_dynamic", "ptpc_fp8", "fbgemm_fp8", "fp8_marlin", "fp8-block",
    ),
    "int8": ("w8a8", "w8a8-int8", "int8-w8a8", "int8_w8a8", "w8a16"),
    "awq": ("awq-int4", "awq_marlin", "auto_awq", "awq-marlin"),
    "gptq": ("gptq-int4", "gptq_marlin", "auto_gptq", "marlin", "gptq-marlin"),
    "w4a16": ("int4", "w4a16-int4", "moe_wna16"),
    "nvfp4": ("modelopt_fp4", "fp4"),
    "mxfp4": ("gpt_oss_mxfp4",),
    "bitsandbytes": ("bnb", "nf4", "bitsandbytes-nf4", "bnb-nf4", "bitsandbytes-fp4"),
}  # fmt: skip

_KNOWN: dict[str, Quantization] = {one.name: one for one in QUANTIZATIONS}
_KNOWN |= {other: _KNOWN[name] for name, others in _SYNONYMS.items() for other in others}
_GGUF = {one.name: one for one in GGUF}


def find_quantization(name: str) -> Quantization:
    """One of vLLM's or TGI's. Raises PlanInvalid."""
    found = _KNOWN.get(name.lower().strip())
    if found is None:
        known = ", ".join(one.name for one in QUANTIZATIONS)
        raise PlanInvalid(f'quantization "{name}" is not known; known: {known}')
    return found


def find_gguf(name: str) -> Quantization:
    """One of llama.cpp's file types, such as Q4_K_M. Raises PlanInvalid."""
    plain = name.lower().strip().removeprefix("gguf-").replace("-", "_")
    found = _GGUF.get({"fp16": "f16", "float16": "f16", "fp32": "f32"}.get(plain, plain))
    if found is None:
        raise PlanInvalid(f'GGUF type "{name}" is not known; known: {", ".join(_GGUF)}')
    return found
