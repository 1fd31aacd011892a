"""The plan of one deployment on llama.cpp: everything is laid out before the first token.

Weights of all layers and of the output go to the GPUs (`-ngl 99`), the token embedding stays in
CPU memory. The KV cache is allocated whole, for `max_model_len` tokens in each of `max_num_seqs`
slots; layers with a window hold only that and one batch. Several GPUs hold some layers each.

Source: llama.cpp's server: `-c` is divided by `-np`; `llama-kv-cache` (padding to 256),
`llama-model` (where tensors go). The compute buffer is an estimate.
"""

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Attention, Mixer, State
from gateway.sizing.deployment import Deployment
from gateway.sizing.formats import CACHE_BITS
from gateway.sizing.kv_cache import CacheOptions, state_bytes, token_bytes
from gateway.sizing.loaded import loaded_stages, read_bytes
from gateway.sizing.overhead import CONTEXT_BYTES
from gateway.sizing.parts import Part
from gateway.sizing.plan import Plan, Subject
from gateway.sizing.units import GIB, gib, round_up

BATCH_TOKENS = 512
SLOTS = 4
LENGTH = 4096
VERSION = "current"
_PADDING = 256


def plan_llamacpp(subject: Subject, wanted: Deployment) -> Plan:
    """Raises PlanInvalid."""
    model, gpu = subject.model, wanted.gpu
    if wanted.tensor_parallel and wanted.tensor_parallel > 1:
        raise PlanInvalid("llama.cpp spreads layers over GPUs: use --gpus without tensor parallel")
    if wanted.gpus > len(model.layers):
        raise PlanInvalid(f"{wanted.gpus} GPUs, but the model has {len(model.layers)} layers")
    length = wanted.max_model_len or min(model.longest or LENGTH, LENGTH)
    slots = wanted.max_num_seqs or SLOTS
    tokens = wanted.max_num_batched_tokens or BATCH_TOKENS
    options = CacheOptions(1, _cache_bytes(wanted.kv_cache_dtype), state_element_bytes=4)
    stages = loaded_stages(subject, gpu, 2, 1, wanted.gpus)
    total = gpu.memory_gib * GIB
    rows = []
    for stage in stages:
        made = {Part.ABSORBED, Part.ROPE} | (set() if model.is_tied else {Part.EMBEDDING})
        weights = sum(size for part, size in stage.parts.items() if part not in made)
        weights = max(0.0, weights - wanted.cpu_offload_gib * GIB)
        layers = model.layers[stage.span[0] : stage.span[1]]
        mixers = [mixer for layer in layers for mixer in layer.mixers]
        compute = tokens * (model.vocab * 4 * stage.is_last + 12 * model.hidden * 4)
        rows.append((total - CONTEXT_BYTES - weights - compute, weights, compute, mixers, stage))
    room, weights, compute, mixers, stage = min(
        rows, key=lambda row: row[0] - _cache(row[3], length, tokens, options) * slots
    )
    needed = _cache(mixers, length, tokens, options) * slots
    one = _cache(mixers, length, tokens, options)
    limit = model.longest or length
    fits = _longest(mixers, room, tokens, options, slots, limit)
    each = sum(token_bytes(mixer, options) for mixer in mixers)
    reason = None
    if length > limit:
        reason = f"--max-model-len {length} is more than the {limit} the model was made for"
    elif room <= 0:
        reason = (
            f"the weights take {gib(weights):.1f} GiB per GPU, the {gpu.name} has "
            f"{gpu.memory_gib:g}: use more GPUs, a smaller type or --cpu-offload-gib"
        )
    elif needed > room:
        reason = (
            f"{slots} slots of {length} tokens need {gib(needed):.2f} GiB of KV cache, "
            f"{gib(room):.2f} are left: use --max-model-len {fits} or fewer slots (--max-num-seqs)"
        )
    read = sum(read_bytes(subject, part) for part in stages)
    return Plan(
        quantization=subject.quantization.name,
        starts=reason is None,
        reason=reason,
        weights_gib=gib(weights),
        activation_gib=gib(compute),
        overhead_gib=gib(CONTEXT_BYTES),
        graphs_gib=0.0,
        kv_cache_gib=gib(needed),
        kv_cache_bytes_per_token=int(each),
        kv_cache_tokens=slots * length if reason is None else 0,
        max_concurrency=max(0.0, room / one) if one else float(slots),
        max_model_len_that_fits=fits,
        flags=_flags(wanted, length, slots, tokens),
        sources=[
            "engine: llama.cpp's layout; the compute buffer is an estimate",
            f"GPU: {gpu.source}",
        ],
        engine=wanted.engine,
        engine_version=VERSION,
        gpu=gpu.name,
        gpus=wanted.gpus,
        gpu_memory_gib=gpu.memory_gib,
        tensor_parallel=1,
        pipeline_parallel=wanted.gpus,
        max_model_len=length,
        max_num_seqs=slots,
        max_num_batched_tokens=tokens,
        kv_cache_gib_range=(gib(needed), gib(needed)),
        decode_tokens_per_second_ceiling=(
            gpu.bandwidth_gb_s * 1e9 / read if gpu.bandwidth_gb_s else None
        ),
        accuracy_loss=subject.quantization.loss,
        accuracy_source=subject.quantization.loss_source,
        parameters=0,
        notes=[],
    )


def _cache_bytes(name: str) -> float:
    plain = {"auto": "f16", "float16": "f16", "bfloat16": "bf16", "float32": "f32"}.get(name, name)
    if plain not in CACHE_BITS:
        raise PlanInvalid(f'KV cache type "{name}" is not known; known: {", ".join(CACHE_BITS)}')
    return CACHE_BITS[plain] / 8


def _cache(mixers: list[Mixer], length: int, batch: int, options: CacheOptions) -> float:
    """Bytes of one slot."""
    whole = 0.0
    for mixer in mixers:
        if isinstance(mixer, State):
            whole += state_bytes(mixer, options)
            continue
        kept = round_up(length, _PADDING)
        if isinstance(mixer, Attention) and mixer.window is not None:
            kept = min(kept, round_up(mixer.window + batch, _PADDING))
        whole += kept * token_bytes(mixer, options)
    return whole


def _longest(
    mixers: list[Mixer], room: float, batch: int, options: CacheOptions, slots: int, limit: int
) -> int:
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if _cache(mixers, middle, batch, options) * slots <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _flags(wanted: Deployment, length: int, slots: int, tokens: int) -> list[str]:
    flags = [
        "-ngl", "99",
        "-c", str(length * slots),
        "-np", str(slots),
        "-ub", str(tokens),
    ]  # fmt: skip
    if wanted.kv_cache_dtype != "auto":
        flags += ["-ctk", wanted.kv_cache_dtype, "-ctv", wanted.kv_cache_dtype, "-fa", "on"]
    if wanted.gpus > 1:
        flags += ["--split-mode", "layer"]
    return flags
