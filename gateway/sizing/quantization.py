"""The quantizations: how wide a weight is, which weights, on which GPU and engine, at what loss.

Bits include the scales: a group of g weights shares one 16-bit scale (16/g bits each) and,
when it is not symmetric, a zero point (4/g).

Sources of the tables: vLLM 0.33 `--quantization` and its hardware page; TGI 3.3 `--quantize`;
accuracy: named at each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.sizing.formats import GGUF_TYPES
from gateway.sizing.gpus import Gpu
from gateway.sizing.parts import Part

LINEAR = frozenset({Part.ATTENTION, Part.MLP, Part.EXPERTS, Part.STATE})
WITH_TOWER = LINEAR | {Part.TOWER}
EVERYTHING = frozenset(Part) - {Part.NORM, Part.ROPE, Part.ABSORBED}

_DEATH = '"Give Me BF16 or Give Me Death" (arXiv 2411.02355)'
_CARDS = "RedHatAI model cards, Llama-3.1-8B-Instruct"
_LLAMACPP = "llama.cpp quantize help, perplexity of Llama-3-8B"


@dataclass(frozen=True, slots=True)
class Quantization:
    """One way to store weights. `bits` None: as wide as the model computes.

    `parts`: what it covers, the rest stays 16 bits wide; `vllm`, `tgi`: the engine's own name,
    None where it has none, "" where the checkpoint says it all. `is_online`: a 16-bit
    checkpoint is quantized while it is loaded. `group`: weights that share a scale and so must
    stay on one GPU, 0 without. `capability`: the oldest that runs it at all; `offered`: from which
    to which it is worth proposing, None never. `overrides`: bits of parts that differ.
    """

    name: str
    bits: float | None
    parts: frozenset[Part] = LINEAR
    vllm: str | None = None
    tgi: str | None = None
    capability: tuple[int, int] = (7, 0)
    offered: tuple[tuple[int, int], tuple[int, int]] | None = ((7, 0), (99, 0))
    is_online: bool = False
    runs_on_amd: bool = True
    group: int = 0
    loss: str = "none"
    loss_source: str = "the checkpoint's own precision"
    note: str = ""
    overrides: Mapping[Part, float] = field(default_factory=dict)


def _perplexity(added: float) -> str:
    return f"perplexity +{added:g}" if added else "none"


SIXTEEN = Quantization("bf16", None, vllm="", tgi="")
_FP8 = Quantization(
    "fp8",
    8,
    parts=WITH_TOWER,
    vllm="fp8",
    tgi="fp8",
    capability=(7, 5),
    is_online=True,
    loss="under 1 %: 99 to 100 % of the 16-bit model's scores",
    loss_source=_DEATH,
    note="8-bit arithmetic from capability 8.9; below only the weights are 8 bits wide",
)
_INT8 = Quantization(
    "int8",
    8,
    vllm="",
    capability=(7, 5),
    offered=((7, 5), (9, 0)),
    runs_on_amd=False,
    loss="1 to 3 %; 100.3 % of OpenLLM v1 when tuned",
    loss_source=f"{_DEATH}; {_CARDS}",
    note="W8A8: needs a compressed-tensors checkpoint",
)
_FOUR_LOSS = "1 to 4 %: 98.9 % of OpenLLM v1, 96.1 % of v2"
QUANTIZATIONS: tuple[Quantization, ...] = (
    SIXTEEN,
    _FP8,
    _INT8,
    Quantization(
        "awq",
        4 + 20 / 128,
        vllm="",
        tgi="awq",
        capability=(7, 5),
        runs_on_amd=False,
        group=128,
        loss=_FOUR_LOSS,
        loss_source=f"{_DEATH}; {_CARDS} (w4a16)",
        note="4 bits in groups of 128 with zero points: needs an AWQ checkpoint",
    ),
    Quantization(
        "gptq",
        4 + 20 / 128,
        vllm="",
        tgi="gptq",
        capability=(7, 0),
        runs_on_amd=False,
        group=128,
        loss=_FOUR_LOSS,
        loss_source=f"{_DEATH}; {_CARDS} (w4a16)",
        note="4 bits in groups of 128: needs a GPTQ checkpoint",
    ),
    Quantization(
        "w4a16",
        4 + 16 / 128,
        vllm="",
        tgi="compressed-tensors",
        capability=(8, 0),
        runs_on_amd=False,
        group=128,
        loss=_FOUR_LOSS,
        loss_source=f"{_DEATH}; {_CARDS} (w4a16)",
        note="symmetric 4 bits in groups of 128: needs a compressed-tensors checkpoint",
    ),
    Quantization(
        "nvfp4",
        4.5,
        vllm="",
        capability=(8, 0),
        offered=((10, 0), (99, 0)),
        runs_on_amd=False,
        group=16,
        loss="1 to 6 %: 6 % by plain rounding, 3.5 % after quantization-aware training",
        loss_source="ISTA FP-Quant model card, Llama-3.1-8B",
        note="needs a ModelOpt or compressed-tensors checkpoint; below capability 10.0 only the "
        "weights are 4 bits wide",
    ),
    Quantization(
        "mxfp4",
        4.25,
        parts=frozenset({Part.EXPERTS}),
        vllm="",
        capability=(8, 0),
        loss="none where it was trained so (gpt-oss); else as other 4-bit formats",
        loss_source="gpt-oss model card",
        note="experts only: needs a checkpoint in MXFP4",
    ),
    Quantization(
        "bitsandbytes",
        4 + 32 / 64,
        vllm="bitsandbytes",
        tgi="bitsandbytes-nf4",
        capability=(7, 0),
        is_online=True,
        loss="1 to 4 %, as other 4-bit formats; slower than all of them",
        loss_source="QLoRA (arXiv 2305.14314)",
        note="NF4 in blocks of 64; left vLLM after 0.26",
    ),
    Quantization(
        "eetq",
        8,
        tgi="eetq",
        capability=(7, 5),
        is_online=True,
        runs_on_amd=False,
        loss="under 1 %",
        loss_source=_DEATH,
        note="TGI only: int8 weights",
    ),
    Quantization("fp32", 32, parts=EVERYTHING, vllm="", offered=None),
)

GGUF: tuple[Quantization, ...] = tuple(
    Quantization(
        one.name,
        one.model_bits,
        parts=EVERYTHING,
        loss="not published" if one.perplexity is None else _perplexity(one.perplexity),
        loss_source=_LLAMACPP,
    )
    for one in GGUF_TYPES
)


def missing_support(quantization: Quantization, gpu: Gpu) -> str | None:
    """Why this GPU cannot run it; None when it can."""
    if gpu.capability is None:
        if quantization.runs_on_amd:
            return None
        return f"{quantization.name} has no kernels for AMD GPUs"
    if gpu.capability < quantization.capability:
        needed, has = (".".join(map(str, c)) for c in (quantization.capability, gpu.capability))
        return f"{quantization.name} needs compute capability {needed}, the {gpu.name} has {has}"
    return None


def is_offered(quantization: Quantization, gpu: Gpu) -> bool:
    """Whether it is worth proposing for this GPU."""
    if quantization.offered is None or missing_support(quantization, gpu):
        return False
    first, last = quantization.offered
    return gpu.capability is None or first <= gpu.capability <= last


def widths(quantization: Quantization, element_bits: float) -> dict[Part, float]:
    """Bits of a weight in every part; `element_bits` where nothing is quantized."""
    inside = quantization.bits if quantization.bits is not None else element_bits
    return {
        part: quantization.overrides.get(
            part, inside if part in quantization.parts else element_bits
        )
        for part in Part
    }
