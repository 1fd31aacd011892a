"""The plan of one deployment on vLLM: its start-up's arithmetic, step by step.

requested = memory × utilization; of it go the weights, what libraries take, the peak of one full
batch and (from 0.20) the CUDA graphs. What is left is cut into blocks. vLLM refuses to start
when nothing is left, or when one sequence of `max_model_len` does not fit.

Source: vLLM 0.33 `v1/worker/gpu_worker.py` (determine_available_memory) and
`v1/core/kv_cache_planning.py`, and the same files of 0.9 to 0.32.
"""

from dataclasses import dataclass

from gateway.sizing.activation import Batch, encoder_bytes, peak_bytes, runner_bytes
from gateway.sizing.architecture import Architecture
from gateway.sizing.cache_types import find_cache_type
from gateway.sizing.checkpoint import cache_is_eight_bits
from gateway.sizing.deployment import Deployment
from gateway.sizing.formats import DTYPE_BYTES
from gateway.sizing.kv_cache import CacheOptions, Layout, layout, stage_block_bytes, token_bytes
from gateway.sizing.loaded import Stage, loaded_stages, read_bytes
from gateway.sizing.overhead import Range, graph_bytes, library_bytes
from gateway.sizing.parallel import check_parallel
from gateway.sizing.plan import Plan, StagePlan, Subject
from gateway.sizing.refusals import refusal
from gateway.sizing.units import GIB, gib
from gateway.sizing.versions import VllmVersion, read_version
from gateway.sizing.vllm_flags import vllm_flags

UNLIMITED_LENGTH = 2048
"""What vLLM takes for a model that states no limit."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one GPU of a stage has and needs, in bytes. `cache` may be negative."""

    stage: Stage
    weights: float
    activation: float
    overhead: Range
    graphs: Range
    cache: float
    block_bytes: int
    unsure_activation: float

    @property
    def blocks(self) -> int:
        return int(self.cache // self.block_bytes) if self.block_bytes else 0

    def spread(self, counts_graphs: bool) -> tuple[float, float]:
        """Between which the cache may lie, in bytes."""
        graphs = self.graphs if counts_graphs else Range(0, 0, 0)
        less = self.overhead.high - self.overhead.likely + graphs.high - graphs.likely
        more = self.overhead.likely - self.overhead.low + graphs.likely - graphs.low
        unsure = self.unsure_activation + 0.002 * self.weights
        return max(0.0, self.cache - less - unsure), max(0.0, self.cache + more + unsure)


def plan_vllm(subject: Subject, wanted: Deployment) -> Plan:
    """Raises PlanInvalid for what cannot be asked; what vLLM would refuse is in the plan."""
    model, gpu = subject.model, wanted.gpu
    version = read_version(wanted.engine_version)
    tensor, pipeline = wanted.parallel()
    check_parallel(model, tensor, pipeline, subject.quantization)
    batch = batch_of(wanted, version, model)
    options = cache_options(wanted, version, batch, model)
    cut = layout(model, options)
    budgets = _budgets(subject, wanted, version, batch, cut)
    tight = min(budgets, key=lambda one: (one.blocks, one.cache))
    blocks = max(0, tight.blocks)
    needed = cut.blocks(batch.length) if cut else 0
    usable = max(0, blocks - (1 if version.holds_null_block else 0))
    fits = _longest(cut, usable, model, batch.length)
    concurrency = blocks / needed if needed else float(batch.sequences)
    reason = refusal(
        subject, wanted, version, batch, tight.weights, tight.cache, tight.block_bytes * needed,
        fits, has_room=not cut or needed <= usable,
    )  # fmt: skip
    low, high = tight.spread(version.counts_graphs)
    return Plan(
        quantization=subject.quantization.name,
        starts=reason is None,
        reason=reason,
        weights_gib=gib(tight.weights),
        activation_gib=gib(tight.activation),
        overhead_gib=gib(tight.overhead.likely),
        graphs_gib=gib(tight.graphs.likely),
        kv_cache_gib=gib(max(0.0, tight.cache)),
        kv_cache_bytes_per_token=_bytes_per_token(model, options, tight.stage),
        kv_cache_tokens=_tokens(cut, version, blocks, concurrency, batch.length),
        max_concurrency=concurrency if reason is None or blocks else 0.0,
        max_model_len_that_fits=fits,
        flags=vllm_flags(subject, wanted, batch, version),
        sources=[
            f"engine: vLLM {version}, its start-up arithmetic; libraries and CUDA graphs measured",
            f"GPU: {gpu.source}",
        ],
        engine=wanted.engine,
        engine_version=str(version),
        gpu=gpu.name,
        gpus=wanted.gpus,
        gpu_memory_gib=gpu.memory_gib,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        max_model_len=batch.length,
        max_num_seqs=batch.sequences,
        max_num_batched_tokens=batch.tokens,
        kv_cache_gib_range=(gib(low), gib(high)),
        decode_tokens_per_second_ceiling=_ceiling(subject, wanted, budgets),
        accuracy_loss=subject.quantization.loss,
        accuracy_source=subject.quantization.loss_source,
        parameters=0,
        notes=[],
        stages=[_stage_plan(one) for one in budgets] if pipeline > 1 else [],
    )


def _stage_plan(budget: Budget) -> StagePlan:
    return StagePlan(
        *budget.stage.span,
        weights_gib=gib(budget.weights),
        activation_gib=gib(budget.activation),
        kv_cache_gib=gib(max(0.0, budget.cache)),
    )


def element_bytes(wanted: Deployment, model: Architecture) -> float:
    """The width vLLM computes in: `auto` makes float32 checkpoints 16 bits wide."""
    if wanted.dtype == "auto":
        return 2
    return DTYPE_BYTES[wanted.dtype]


def batch_of(wanted: Deployment, version: VllmVersion, model: Architecture) -> Batch:
    """The largest batch, from the options or this GPU's defaults."""
    tokens, sequences = version.batch_defaults(wanted.gpu)
    tensor, pipeline = wanted.parallel()
    length = wanted.max_model_len or model.longest or UNLIMITED_LENGTH
    if wanted.max_num_seqs is not None:
        sequences = wanted.max_num_seqs
    if wanted.max_num_batched_tokens is not None:
        tokens = wanted.max_num_batched_tokens
    else:
        tokens = max(min(tokens, sequences * length), sequences if wanted.max_num_seqs else 1)
    if wanted.max_num_seqs is None:
        sequences = min(sequences, tokens)
    return Batch(
        tokens=tokens,
        sequences=sequences,
        length=length,
        element_bytes=element_bytes(wanted, model),
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
    )


def cache_options(
    wanted: Deployment, version: VllmVersion, batch: Batch, model: Architecture
) -> CacheOptions:
    """How the cache is stored: `auto` follows the checkpoint, then the model's own width."""
    kind = find_cache_type(wanted.kv_cache_dtype)
    width = kind.element_bytes
    is_packed = kind.is_packed_latent
    if width is None:
        is_eight = version.follows_cache_scheme and cache_is_eight_bits(model)
        width = 1.0 if is_eight else batch.element_bytes
    if any(getattr(mixer, "index_dim", 0) for mixer in model.mixers):
        # sparse attention reads a packed format, unless 16 bits are asked for
        is_packed = wanted.kv_cache_dtype not in ("bfloat16", "float16")
    flying = 1
    if version.overlaps_batches:
        second = version.uses_second_runner(model)
        stages = batch.pipeline_parallel
        flying = stages + 1 if second else (2 if stages == 1 else stages)
    return CacheOptions(
        tensor_parallel=batch.tensor_parallel,
        element_bytes=width,
        state_element_bytes=batch.element_bytes,
        scale_bytes=kind.scale_bytes,
        in_flight_tokens=flying * batch.tokens,
        state_blocks=2 if version.caches_state_prefixes else 1,
        is_packed_latent=is_packed,
    )


def _budgets(
    subject: Subject, wanted: Deployment, version: VllmVersion, batch: Batch, cut: Layout | None
) -> list[Budget]:
    """One for each stage."""
    model, gpu = subject.model, wanted.gpu
    tensor, pipeline = wanted.parallel()
    utilization = wanted.gpu_memory_utilization or version.utilization
    requested = gpu.memory_gib * GIB * utilization
    made = []
    for stage in loaded_stages(subject, gpu, batch.element_bytes, tensor, pipeline):
        weights = max(0.0, stage.size_bytes - wanted.cpu_offload_gib * GIB)
        activation = peak_bytes(
            model,
            version,
            gpu,
            batch,
            quantization=subject.quantization.name,
            is_last=stage.is_last,
        )
        libraries = library_bytes(gpu, tensor, pipeline)
        held = runner_bytes(model, version, batch.sequences) if stage.is_last else 0
        overhead = Range(libraries.likely + held, libraries.low + held, libraries.high + held)
        graphs = Range(0, 0, 0)
        if not wanted.is_eager:
            layers = stage.span[1] - stage.span[0]
            largest = 1024 if model.model_type == "gpt_oss" else 512
            graphs = graph_bytes(layers, batch.sequences, largest=largest)
        cache = requested - weights - activation - overhead.likely
        if version.counts_graphs:
            cache -= graphs.likely
        block = stage_block_bytes(model, cut, stage.span) if cut else 0
        # what an encoder takes depends on its processor, which config.json does not tell
        unsure = 0.05 * activation + 0.5 * max(encoder_bytes(model, batch))
        made.append(Budget(stage, weights, activation, overhead, graphs, cache, block, unsure))
    return made


def _longest(cut: Layout | None, usable: int, model: Architecture, length: int) -> int:
    limit = model.longest or max(length, UNLIMITED_LENGTH)
    return cut.longest(usable, limit) if cut else limit


def _tokens(
    cut: Layout | None, version: VllmVersion, blocks: int, concurrency: float, length: int
) -> int:
    """The "KV cache size" of vLLM's log."""
    if cut is None:
        return 0
    if version.reports_concurrency:
        return int(concurrency * length)
    return blocks // len(cut.groups) * cut.block_tokens


def _bytes_per_token(model: Architecture, options: CacheOptions, stage: Stage) -> int:
    layers = model.layers[stage.span[0] : stage.span[1]]
    return int(sum(token_bytes(mixer, options) for layer in layers for mixer in layer.mixers))


def _ceiling(subject: Subject, wanted: Deployment, budgets: list[Budget]) -> float | None:
    """Tokens a second of one sequence when reading weights is all that takes time.

    Stages follow one another; what is offloaded comes over PCIe, and is left out.
    """
    if not wanted.gpu.bandwidth_gb_s:
        return None
    read = sum(read_bytes(subject, budget.stage) for budget in budgets)
    return wanted.gpu.bandwidth_gb_s * 1e9 / read
