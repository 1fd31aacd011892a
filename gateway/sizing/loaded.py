"""The weights as an engine loads them: per stage, in a quantization, true to the files' size."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.sizing.architecture import Architecture, Experts
from gateway.sizing.checkpoint import own_quantization
from gateway.sizing.formats import DTYPE_BYTES
from gateway.sizing.gpus import Gpu
from gateway.sizing.parts import Part
from gateway.sizing.plan import Subject
from gateway.sizing.quantization import SIXTEEN, widths
from gateway.sizing.units import round_up
from gateway.sizing.weights import stage_bytes, stages

_MADE = (Part.ROPE, Part.ABSORBED)  # in no checkpoint: the engine makes them


@dataclass(frozen=True, slots=True)
class Stage:
    """One pipeline stage's layers, and the bytes of its parts on one GPU."""

    span: tuple[int, int]
    parts: Mapping[Part, float]
    is_last: bool

    @property
    def size_bytes(self) -> float:
        return sum(self.parts.values())


def correction(subject: Subject) -> float:
    """The files' size over what the formula says of the checkpoint as it is; 1 without files."""
    if subject.weighed is None:
        return 1
    model = subject.model
    bits = widths(own_quantization(model) or SIXTEEN, DTYPE_BYTES.get(model.dtype, 2) * 8)
    whole = stage_bytes(model, (0, len(model.layers)), bits, keeps_absorbed=False)
    counted = sum(size for part, size in whole.items() if part not in _MADE)
    return subject.weighed.size_bytes / counted


def loaded_stages(
    subject: Subject, gpu: Gpu, element_bytes: float, tensor_parallel: int, pipeline_parallel: int
) -> list[Stage]:
    """Every stage, with what the files say spread over its parts."""
    model = subject.model
    bits = widths(subject.quantization, element_bytes * 8)
    factor = correction(subject)
    padding = expert_padding(model, subject, gpu, tensor_parallel)
    spans = stages(len(model.layers), pipeline_parallel)
    made = []
    for span in spans:
        parts = stage_bytes(
            model, span, bits, tensor_parallel=tensor_parallel, expert_padding=padding
        )
        made.append(
            Stage(
                span,
                {part: size if part in _MADE else size * factor for part, size in parts.items()},
                is_last=span[1] == len(model.layers),
            )
        )
    return made


def expert_padding(model: Architecture, subject: Subject, gpu: Gpu, tensor_parallel: int) -> float:
    """How much MXFP4 experts grow: kernels want widths in multiples, which differ by GPU.

    Hopper: 64 of the width; Blackwell and weight-only kernels: 128 of the width, 256 of the
    hidden size. Source: vLLM 0.33 `fused_moe/oracle/mxfp4.py`.
    """
    if subject.quantization.name != "mxfp4":
        return 1
    is_hopper = gpu.at_least(9) and not gpu.at_least(10)
    of_width, of_hidden = (64, 1) if is_hopper else (128, 256)
    for layer in model.layers:
        if isinstance(layer.feed, Experts):
            width, hidden = layer.feed.intermediate // tensor_parallel, model.hidden
            stored = round_up(width, of_width) * round_up(hidden, of_hidden)
            return stored / (width * hidden)
    return 1


def read_bytes(subject: Subject, stage: Stage, tokens: int = 1) -> float:
    """Bytes of weights read for a step of so many tokens: all but the embedding.

    Of the experts those that some token chose: 1 - (1 - active ÷ count) ^ tokens.
    """
    model = subject.model
    read = 0.0
    share = 1.0
    for layer in model.layers:
        if isinstance(layer.feed, Experts):
            share = 1 - (1 - layer.feed.active / layer.feed.count) ** tokens
    for part, size in stage.parts.items():
        match part:
            case Part.EXPERTS:
                read += size * share
            case Part.EMBEDDING if not model.is_tied:
                pass
            case Part.TOWER | Part.ROPE:
                pass
            case _:
                read += size
    return read
