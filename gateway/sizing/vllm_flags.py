"""The flags that make vLLM run a plan: what was planned with is pinned, defaults included."""

from gateway.sizing.activation import Batch
from gateway.sizing.deployment import Deployment
from gateway.sizing.plan import Subject
from gateway.sizing.versions import VllmVersion


def vllm_flags(
    subject: Subject, wanted: Deployment, batch: Batch, version: VllmVersion
) -> list[str]:
    """As they follow `vllm serve MODEL`, one word each."""
    utilization = wanted.gpu_memory_utilization or version.utilization
    flags = [
        "--max-model-len", str(batch.length),
        "--gpu-memory-utilization", f"{utilization:g}",
        "--max-num-seqs", str(batch.sequences),
        "--max-num-batched-tokens", str(batch.tokens),
    ]  # fmt: skip
    tensor, pipeline = wanted.parallel()
    if tensor > 1:
        flags += ["--tensor-parallel-size", str(tensor)]
    if pipeline > 1:
        flags += ["--pipeline-parallel-size", str(pipeline)]
    if subject.quantization.name == "fp32":
        flags += ["--dtype", "float32"]
    elif wanted.dtype != "auto":
        flags += ["--dtype", wanted.dtype]
    if subject.quantization.is_online and subject.quantization.vllm:
        flags += ["--quantization", subject.quantization.vllm]
    if wanted.kv_cache_dtype != "auto":
        flags += ["--kv-cache-dtype", wanted.kv_cache_dtype]
    if wanted.cpu_offload_gib:
        flags += ["--cpu-offload-gb", f"{wanted.cpu_offload_gib:g}"]
    if wanted.is_eager:
        flags.append("--enforce-eager")
    return flags
