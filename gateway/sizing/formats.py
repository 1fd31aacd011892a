"""How numbers are stored: the size of element types, and of llama.cpp's block formats.

Source: GGUF block sizes from llama.cpp's `gguf` package; whole-model bits per weight from
llama.cpp's own table for Llama-3.1-8B (a mix keeps embeddings and output in wider types).
"""

from collections.abc import Mapping
from dataclasses import dataclass

DTYPE_BYTES: Mapping[str, float] = {
    "float32": 4,
    "float": 4,
    "float16": 2,
    "half": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "int8": 1,
}

# safetensors' names of element types
STORED_BYTES: Mapping[str, float] = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I8": 1, "U8": 1, "BOOL": 1, "F4": 0.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufType:
    """A file type of llama.cpp.

    `block_bits`: of one weight in its main format; `model_bits`: on average over a whole model;
    `perplexity`: what it adds to Llama-3-8B's, None where upstream names no figure.
    """

    name: str
    block_bits: float
    model_bits: float
    perplexity: float | None


GGUF_TYPES: tuple[GgufType, ...] = (
    GgufType("f32", 32, 32, 0),
    GgufType("bf16", 16, 16, 0),
    GgufType("f16", 16, 16, 0),
    GgufType("q8_0", 8.5, 8.5, 0.0026),
    GgufType("q6_k", 6.5625, 6.56, 0.0217),
    GgufType("q5_k_m", 5.5, 5.70, 0.0569),
    GgufType("q5_k_s", 5.5, 5.57, 0.1049),
    GgufType("q5_1", 6.0, 6.04, 0.1062),
    GgufType("q5_0", 5.5, 5.57, 0.1316),
    GgufType("q4_k_m", 4.5, 4.89, 0.1754),
    GgufType("q4_k_s", 4.5, 4.67, 0.2689),
    GgufType("iq4_nl", 4.5, 4.68, None),
    GgufType("iq4_xs", 4.25, 4.46, None),
    GgufType("q4_1", 5.0, 5.11, 0.4511),
    GgufType("q4_0", 4.5, 4.64, 0.4685),
    GgufType("q3_k_l", 3.4375, 4.30, 0.556),
    GgufType("q3_k_m", 3.4375, 4.00, 0.657),
    GgufType("q3_k_s", 3.4375, 3.64, 1.632),
    GgufType("iq3_m", 3.44, 3.76, None),
    GgufType("iq3_s", 3.44, 3.66, None),
    GgufType("iq3_xs", 3.3, 3.50, None),
    GgufType("iq3_xxs", 3.06, 3.25, None),
    GgufType("q2_k", 2.625, 3.16, 3.52),
    GgufType("q2_k_s", 2.625, 2.97, 3.18),
    GgufType("iq2_m", 2.56, 2.93, None),
    GgufType("iq2_s", 2.5, 2.74, None),
    GgufType("iq2_xs", 2.31, 2.59, None),
    GgufType("iq2_xxs", 2.06, 2.38, None),
    GgufType("iq1_m", 1.75, 2.15, None),
    GgufType("iq1_s", 1.5625, 2.00, None),
    GgufType("mxfp4_moe", 4.25, 4.25, None),
    GgufType("tq1_0", 1.6875, 1.69, None),
    GgufType("tq2_0", 2.0625, 2.06, None),
)

# llama.cpp's cache types: bits of an element
CACHE_BITS: Mapping[str, float] = {
    "f32": 32, "f16": 16, "bf16": 16, "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5,
    "q4_0": 4.5, "iq4_nl": 4.5,
}  # fmt: skip
