"""The options of an engine whose memory was not planned: those the file gives, and no others.

Source: `vllm serve --help` (0.32), `text-generation-launcher --help` (3.3), `llama-server --help`.
"""

from gateway.config.deploy import CHECKPOINT, Deploy
from gateway.sizing.names import find_quantization


def given_flags(engine: str, deploy: Deploy) -> list[str]:
    """As they follow the program and its model, one word each. Raises PlanInvalid."""
    match engine:
        case "vllm":
            return _vllm(deploy)
        case "tgi":
            return _tgi(deploy)
        case "llamacpp":
            return _llamacpp(deploy)
        case _:
            return []


def _pairs(*given: tuple[str, object]) -> list[str]:
    """Options with their values, without those that are not given."""
    words = []
    for flag, value in given:
        if value is not None:
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def _unless_auto(value: str) -> str | None:
    return None if value == "auto" else value


def _vllm(deploy: Deploy) -> list[str]:
    tensor = deploy.tensor_parallel
    if tensor is None and deploy.gpus > 1:
        tensor = deploy.gpus // (deploy.pipeline_parallel or 1)
    quantization = None
    if deploy.quantization is not None and deploy.quantization != CHECKPOINT:
        found = find_quantization(deploy.quantization)
        quantization = found.vllm if found.is_online else None
    return _pairs(
        ("--max-model-len", deploy.max_model_len),
        ("--gpu-memory-utilization", deploy.gpu_memory_utilization),
        ("--max-num-seqs", deploy.max_num_seqs),
        ("--max-num-batched-tokens", deploy.max_num_batched_tokens),
        ("--tensor-parallel-size", tensor),
        ("--pipeline-parallel-size", deploy.pipeline_parallel),
        ("--dtype", _unless_auto(deploy.dtype)),
        ("--quantization", quantization),
        ("--kv-cache-dtype", _unless_auto(deploy.kv_cache_dtype)),
        ("--cpu-offload-gb", deploy.cpu_offload_gib or None),
    )


def _tgi(deploy: Deploy) -> list[str]:
    length = deploy.max_model_len
    quantization = None
    if deploy.quantization is not None and deploy.quantization != CHECKPOINT:
        quantization = find_quantization(deploy.quantization).tgi
    return _pairs(
        ("--max-total-tokens", length),
        ("--max-input-tokens", None if length is None else length - 1),
        ("--max-batch-prefill-tokens", deploy.max_num_batched_tokens),
        ("--max-concurrent-requests", deploy.max_num_seqs),
        ("--num-shard", deploy.gpus if deploy.gpus > 1 else None),
        ("--quantize", quantization),
        ("--dtype", _unless_auto(deploy.dtype)),
        ("--cuda-memory-fraction", deploy.gpu_memory_utilization),
    )


def _llamacpp(deploy: Deploy) -> list[str]:
    slots, length = deploy.max_num_seqs, deploy.max_model_len
    cache = _unless_auto(deploy.kv_cache_dtype)
    return _pairs(
        ("-ngl", 99 if deploy.gpu is not None else None),
        ("-c", None if length is None else length * (slots or 1)),
        ("-np", slots if slots is not None or length is None else 1),
        ("-ub", deploy.max_num_batched_tokens),
        ("-ctk", cache),
        ("-ctv", cache),
        ("-fa", None if cache is None else "on"),
    )
