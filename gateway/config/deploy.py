"""What a variant's engines run on, so that its memory can be planned before it starts.

The same entry deploys them: `gateway check` plans its memory, the Helm chart renders it, and
`gateway up` starts it as processes of this machine.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from gateway.config.base import Number, Section
from gateway.config.workload import (
    Adapter,
    Autoscaling,
    Cache,
    Count,
    Gib,
    Image,
    Pod,
    Seconds,
    Text,
)

Word = Annotated[str, Field(max_length=4096)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

CHECKPOINT = "checkpoint"
"""The `quantization` of files that are quantized already: the engine is told nothing."""


class Deploy(Section):
    """One replica's GPUs, and how its engine is started."""

    gpu: Text | None = Field(
        None,
        description="The GPU, such as H100, L4 or RTX-4090; absent: the engine runs on CPUs, "
        "and its memory is not planned.",
    )
    gpus: Count = Field(1, description="How many of them for one replica.")
    gpu_memory_gib: Gib | None = Field(
        None, description="Memory of a GPU that `gateway plan` does not know."
    )
    model: Text | None = Field(
        None,
        description="Path of a config.json or a .gguf file, a folder, or a name on the Hub; "
        "default: what the engine serves.",
    )
    quantization: Text | None = Field(
        None,
        description="What the engine quantizes to; default: the checkpoint's own, else the "
        "variant's tag where it names one, else none. `checkpoint`: its files are quantized.",
    )
    max_model_len: Count | None = Field(
        None, description="Longest prompt and answer; default: the model's."
    )
    max_num_seqs: Count | None = Field(None, description="Sequences in one batch.")
    max_num_batched_tokens: Count | None = Field(None, description="Tokens in one batch.")
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1), Number] | None = Field(
        None, description="The engine's share of each GPU."
    )
    tensor_parallel: Count | None = Field(None, description="GPUs that share each layer.")
    pipeline_parallel: Count | None = Field(None, description="Stages of layers.")
    kv_cache_dtype: Text = Field("auto", description="Element type of the KV cache.")
    dtype: Text = Field("auto", description="What the engine computes in.")
    cpu_offload_gib: Gib = Field(0, description="Weights of each GPU kept in CPU memory.")
    engine_version: Text | None = Field(None, description="Default: the newest known.")
    path: Text | None = Field(
        None,
        description="Where the engine finds the model's files on a volume of its own; "
        "default: it fetches `model`.",
    )
    lora_adapters: tuple[Adapter, ...] = Field(
        (), description="Adapters that vLLM or TGI serves beside it, each a model for clients."
    )
    max_lora_rank: Count | None = Field(None, description="The largest rank of an adapter.")
    extra_args: tuple[Text, ...] = Field((), description="Further options of the engine.")
    replicas: Count | None = Field(None, description="How many replicas; default: 1.")
    nodes: Count = Field(
        1, description="Pods that make one replica (vLLM, by LeaderWorkerSet); `gpus` is for all."
    )
    gpu_resource: Text = Field(
        "nvidia.com/gpu", description="The name a node offers its GPUs, or parts of them, under."
    )
    load_time_s: Seconds | None = Field(
        None, description="How long a start may take; default: the engine kind's."
    )
    drain_s: Seconds | None = Field(
        None, description="How long running requests may go on; default: the engine kind's."
    )
    image: Image = Field(Image(), description="Its container image.")
    cache: Cache = Field(Cache(), description="Where the model's files are kept.")
    autoscaling: Autoscaling | None = Field(None, description="None: `replicas` is fixed.")
    pod: Pod = Field(Pod(), description="Where and how its pods run.")
    command: tuple[Word, ...] = Field(
        (),
        description="For `gateway up`: the program that starts it, and its words, with {port}, "
        "{host}, {model}, {served_model} and {flags} filled in; default: the engine kind's.",
    )
    python: Path | None = Field(
        None, description="For `gateway up`: the Python of the environment that has vLLM."
    )
    environment: dict[VariableName, Word] = Field(
        {}, description="For `gateway up`: further variables of the engine."
    )

    @field_validator("gpu")
    @classmethod
    def _is_no_cpu(cls, gpu: str | None) -> str | None:
        if gpu is not None and gpu.lower() in ("cpu", "none"):
            raise ValueError("leave it out: without a GPU the engine runs on CPUs")
        return gpu

    @model_validator(mode="after")
    def _is_one_deployment(self) -> Self:
        if self.gpus % self.nodes:
            raise ValueError(f"{self.gpus} gpus cannot be divided among {self.nodes} nodes")
        if self.autoscaling is not None and self.replicas is not None:
            raise ValueError("give either replicas or autoscaling")
        return self
