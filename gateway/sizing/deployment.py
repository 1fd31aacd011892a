"""What is to be deployed: which model on which GPUs, and how the engine is told to run it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import PlanInvalid
from gateway.sizing.gpus import Gpu


class Engine(StrEnum):
    """The engines a plan can be made for."""

    VLLM = "vllm"
    TGI = "tgi"
    LLAMACPP = "llamacpp"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The options of a plan; None is the engine's default.

    `gpus` is tensor × pipeline parallelism. `quantization` None: the checkpoint's own, or all
    that the GPU supports.
    """

    gpu: Gpu
    gpus: int = 1
    engine: Engine = Engine.VLLM
    engine_version: str | None = None
    quantization: str | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_dtype: str = "auto"
    dtype: str = "auto"
    cpu_offload_gib: float = 0
    is_eager: bool = False

    def parallel(self) -> tuple[int, int]:
        """Tensor and pipeline parallelism. Raises PlanInvalid when they are not `gpus`."""
        tensor, pipeline = self.tensor_parallel, self.pipeline_parallel
        if tensor is None and pipeline is None:
            return self.gpus, 1
        if tensor is None:
            pipeline = pipeline or 1
            tensor = max(1, self.gpus // pipeline)
        elif pipeline is None:
            pipeline = max(1, self.gpus // tensor)
        if tensor * pipeline != self.gpus:
            raise PlanInvalid(
                f"--tensor-parallel {tensor} × --pipeline-parallel {pipeline} are "
                f"{tensor * pipeline} GPUs, --gpus says {self.gpus}"
            )
        return tensor, pipeline

    def check(self) -> None:
        """Raises PlanInvalid for options that contradict each other."""
        self.parallel()
        tokens, sequences = self.max_num_batched_tokens, self.max_num_seqs
        if tokens is not None and sequences is not None and tokens < sequences:
            raise PlanInvalid(
                f"--max-num-batched-tokens {tokens} must be at least --max-num-seqs {sequences}"
            )
        for name in self._meaningless():
            raise PlanInvalid(f"--{name} means nothing to {self.engine}: leave it out")

    def _meaningless(self) -> Iterator[str]:
        """Options that the engine does not have."""
        if self.engine is Engine.VLLM:
            return
        if self.engine_version is not None:
            yield "engine-version"
        if self.is_eager:
            yield "enforce-eager"
        if self.engine is Engine.TGI:
            if self.cpu_offload_gib:
                yield "cpu-offload-gib"
            return
        if self.gpu_memory_utilization is not None:
            yield "gpu-memory-utilization"
        if self.dtype != "auto":
            yield "dtype"
