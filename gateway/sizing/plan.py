"""A plan: what one deployment would take, whether it starts, and how to start it."""

from dataclasses import dataclass, field

from gateway.sizing.architecture import Architecture
from gateway.sizing.quantization import Quantization


@dataclass(frozen=True, slots=True)
class Weighed:
    """A checkpoint's true size. `elements`: how many weights it holds, None is unknown."""

    size_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that plans are made for, in one quantization.

    `weighed`: what its files say, None when they were not seen. `is_own`: the quantization is
    the checkpoint's.
    """

    model: Architecture
    quantization: Quantization
    weighed: Weighed | None = None
    is_own: bool = True


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One pipeline stage, per GPU: the layers from `first_layer` up to `end_layer`."""

    first_layer: int
    end_layer: int
    weights_gib: float
    activation_gib: float
    kv_cache_gib: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes are per GPU, of the GPU that holds the fewest blocks of KV cache.

    `reason`: why it does not start, None when it does. `kv_cache_gib_range`: between which the
    size may lie, from what is only known by measurement. `max_model_len_that_fits`: for one
    sequence, no more than the model was made for. `stages`: every pipeline stage, where there
    are several.
    """

    quantization: str
    starts: bool
    reason: str | None
    weights_gib: float
    activation_gib: float
    overhead_gib: float
    graphs_gib: float
    kv_cache_gib: float
    kv_cache_bytes_per_token: int
    kv_cache_tokens: int
    max_concurrency: float
    max_model_len_that_fits: int
    flags: list[str]
    sources: list[str]
    engine: str
    engine_version: str
    gpu: str
    gpus: int
    gpu_memory_gib: float
    tensor_parallel: int
    pipeline_parallel: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_gib_range: tuple[float, float]
    decode_tokens_per_second_ceiling: float | None
    accuracy_loss: str
    accuracy_source: str
    parameters: int
    notes: list[str]
    stages: list[StagePlan] = field(default_factory=list)
