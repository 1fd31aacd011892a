"""The plan of one deployment on TGI, which finds its capacity by a warm-up.

TGI loads the weights, runs one batch of `max_batch_prefill_tokens`, and gives nine tenths of
what is free after it to the KV cache, as tokens in blocks. Its start fails when the batch does
not fit, or when the cache holds fewer tokens than one request may have.

Source: text-generation-inference 3.3 `server/text_generation_server/models/flash_causal_lm.py`
(warm-up), `models/globals.py` (the 0.90) and the launcher's defaults. Not measured.
"""

from gateway.errors import PlanInvalid
from gateway.sizing.activation import Batch, forward_bytes
from gateway.sizing.cache_types import find_cache_type
from gateway.sizing.deployment import Deployment
from gateway.sizing.formats import DTYPE_BYTES
from gateway.sizing.kv_cache import CacheOptions, token_bytes
from gateway.sizing.loaded import loaded_stages, read_bytes
from gateway.sizing.overhead import CONTEXT_BYTES, library_bytes
from gateway.sizing.parallel import check_parallel
from gateway.sizing.plan import Plan, Subject
from gateway.sizing.quantization import missing_support
from gateway.sizing.units import GIB, gib

PREFILL_TOKENS = 4096
CONCURRENT_REQUESTS = 128
VERSION = "3.3"
_SHARE_OF_FREE = 0.90


def plan_tgi(subject: Subject, wanted: Deployment) -> Plan:
    """Raises PlanInvalid."""
    model, gpu = subject.model, wanted.gpu
    if model.has_state:
        raise PlanInvalid(f"TGI does not plan memory for states ({model.model_type}): use vLLM")
    if wanted.pipeline_parallel and wanted.pipeline_parallel > 1:
        raise PlanInvalid("TGI has no pipeline parallelism: use --tensor-parallel")
    tensor, _ = wanted.parallel()
    check_parallel(model, tensor, 1, subject.quantization)
    width = 2 if wanted.dtype == "auto" else DTYPE_BYTES[wanted.dtype]
    length = wanted.max_model_len or min(model.longest or PREFILL_TOKENS, PREFILL_TOKENS)
    batch = Batch(
        tokens=wanted.max_num_batched_tokens or max(PREFILL_TOKENS, length),
        sequences=wanted.max_num_seqs or CONCURRENT_REQUESTS,
        length=length,
        element_bytes=width,
        tensor_parallel=tensor,
    )
    (stage,) = loaded_stages(subject, gpu, width, tensor, 1)

    weights = stage.size_bytes
    # logits of the last token of each sequence, in float32, and of the whole prompt never
    activation = forward_bytes(model, batch) + batch.sequences * model.vocab * 12
    libraries = library_bytes(gpu, tensor, 1)
    share = 1.0 if wanted.gpu_memory_utilization is None else wanted.gpu_memory_utilization
    free = gpu.memory_gib * GIB - CONTEXT_BYTES - weights - activation - libraries.likely
    cache = free * _SHARE_OF_FREE * share
    kind = find_cache_type(wanted.kv_cache_dtype)
    options = CacheOptions(tensor, width if kind.element_bytes is None else kind.element_bytes)
    each = sum(token_bytes(mixer, options) for mixer in model.mixers)
    tokens = max(0, int(cache // each))
    limit = model.longest or length
    reason = missing_support(subject.quantization, gpu)
    if reason is None and subject.quantization.tgi is None:
        reason = f"TGI has no {subject.quantization.name}"
    if reason is None and length > limit:
        reason = f"--max-model-len {length} is more than the {limit} the model was made for"
    if reason is None and tokens < length:
        reason = (
            f"the KV cache holds {tokens} tokens, one request may have {length}: "
            f"{gib(weights):.1f} GiB are weights, {gib(max(0.0, cache)):.1f} are left"
        )
    return Plan(
        quantization=subject.quantization.name,
        starts=reason is None,
        reason=reason,
        weights_gib=gib(weights),
        activation_gib=gib(activation),
        overhead_gib=gib(libraries.likely),
        graphs_gib=0.0,
        kv_cache_gib=gib(max(0.0, cache)),
        kv_cache_bytes_per_token=int(each),
        kv_cache_tokens=tokens,
        max_concurrency=tokens / length,
        max_model_len_that_fits=min(limit, tokens),
        flags=_flags(subject, wanted, batch),
        sources=["engine: TGI 3.3, its warm-up's arithmetic, not measured", f"GPU: {gpu.source}"],
        engine=wanted.engine,
        engine_version=VERSION,
        gpu=gpu.name,
        gpus=wanted.gpus,
        gpu_memory_gib=gpu.memory_gib,
        tensor_parallel=tensor,
        pipeline_parallel=1,
        max_model_len=length,
        max_num_seqs=batch.sequences,
        max_num_batched_tokens=batch.tokens,
        kv_cache_gib_range=(gib(max(0.0, cache * 0.9)), gib(max(0.0, cache * 1.05))),
        decode_tokens_per_second_ceiling=(
            gpu.bandwidth_gb_s * 1e9 / read_bytes(subject, stage) if gpu.bandwidth_gb_s else None
        ),
        accuracy_loss=subject.quantization.loss,
        accuracy_source=subject.quantization.loss_source,
        parameters=0,
        notes=["TGI is in maintenance since December 2025; its figures here are not measured"],
    )


def _flags(subject: Subject, wanted: Deployment, batch: Batch) -> list[str]:
    flags = [
        "--max-total-tokens", str(batch.length),
        "--max-input-tokens", str(batch.length - 1),
        "--max-batch-prefill-tokens", str(batch.tokens),
        "--max-concurrent-requests", str(batch.sequences),
    ]  # fmt: skip
    if batch.tensor_parallel > 1:
        flags += ["--num-shard", str(batch.tensor_parallel)]
    if subject.quantization.tgi and subject.quantization.bits is not None:
        flags += ["--quantize", subject.quantization.tgi]
    if wanted.kv_cache_dtype != "auto":
        flags += ["--kv-cache-dtype", {"fp8": "fp8_e4m3fn"}.get(wanted.kv_cache_dtype, "fp8_e5m2")]
    if wanted.dtype != "auto":
        flags += ["--dtype", wanted.dtype]
    if wanted.gpu_memory_utilization is not None:
        flags += ["--cuda-memory-fraction", f"{wanted.gpu_memory_utilization:g}"]
    return flags
