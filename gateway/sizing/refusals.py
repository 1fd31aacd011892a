"""Why an engine would not start, and the nearest change that would let it.

Checked in the order in which vLLM finds out: its options, the model, loading, the KV cache.
"""

from gateway.sizing.activation import Batch
from gateway.sizing.deployment import Deployment
from gateway.sizing.overhead import CONTEXT_BYTES
from gateway.sizing.plan import Subject
from gateway.sizing.quantization import GGUF, missing_support
from gateway.sizing.units import GIB, gib
from gateway.sizing.versions import VllmVersion


def refusal(
    subject: Subject,
    wanted: Deployment,
    version: VllmVersion,
    batch: Batch,
    weights: float,
    cache: float,
    needed: float,
    fits: int,
    *,
    has_room: bool,
) -> str | None:
    """None when it starts. `needed`: bytes of one sequence of the full length."""
    return (
        _unsupported(subject, wanted, version)
        or _too_long(subject, batch)
        or _memory(wanted, version, weights, cache)
        or _sequence(wanted, batch, cache, needed, fits, has_room=has_room)
    )


def _unsupported(subject: Subject, wanted: Deployment, version: VllmVersion) -> str | None:
    quantization, gpu = subject.quantization, wanted.gpu
    missing = missing_support(quantization, gpu)
    if missing is not None:
        return missing
    if quantization in GGUF:
        return None if version.has_gguf else "GGUF left vLLM in 0.24: use --engine llamacpp"
    if quantization.vllm is None:
        return f"vLLM has no {quantization.name}"
    if quantization.name == "bitsandbytes" and not version.has_bitsandbytes:
        return f"bitsandbytes left vLLM after 0.26, this is {version}"
    if wanted.dtype == "bfloat16" and gpu.is_cuda and not gpu.at_least(8):
        return f"bfloat16 needs compute capability 8.0: use --dtype float16 on the {gpu.name}"
    return None


def _too_long(subject: Subject, batch: Batch) -> str | None:
    longest = subject.model.longest
    if longest is None or batch.length <= longest:
        return None
    return (
        f"--max-model-len {batch.length} is more than the {longest} tokens the model was made for"
    )


def _memory(wanted: Deployment, version: VllmVersion, weights: float, cache: float) -> str | None:
    gpu = wanted.gpu
    total = gpu.memory_gib * GIB
    utilization = wanted.gpu_memory_utilization or version.utilization
    requested = total * utilization
    if requested > total - CONTEXT_BYTES:
        most = int((1 - CONTEXT_BYTES / total) * 100) / 100
        return (
            f"{utilization:g} of {gpu.memory_gib:g} GiB is more than is free once the driver has "
            f"its part: use --gpu-memory-utilization {most:g} or less"
        )
    if weights + CONTEXT_BYTES > total:
        return (
            f"the weights take {gib(weights):.1f} GiB per GPU, the {gpu.name} has "
            f"{gpu.memory_gib:g}: {_lighter(wanted)}"
        )
    if cache <= 0:
        return (
            f"nothing is left for the KV cache: of {gib(requested):.1f} GiB ({utilization:g} of "
            f"{gpu.memory_gib:g}) weights take {gib(weights):.1f} and the rest "
            f"{gib(requested - cache - weights):.1f}: {_lighter(wanted)}"
        )
    return None


def _sequence(
    wanted: Deployment, batch: Batch, cache: float, needed: float, fits: int, *, has_room: bool
) -> str | None:
    if has_room:
        return None
    nearest = f"use --max-model-len {fits} or less" if fits else _lighter(wanted)
    return (
        f"one sequence of {batch.length} tokens needs {gib(needed):.2f} GiB of KV cache, "
        f"{gib(cache):.2f} are left: {nearest}"
    )


def _lighter(wanted: Deployment) -> str:
    return (
        f"use more than {wanted.gpus} GPU{'s' if wanted.gpus > 1 else ''}, a smaller quantization, "
        "fewer sequences (--max-num-seqs) or --cpu-offload-gib"
    )
