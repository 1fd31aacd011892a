"""What a variant's engines run on, so that its memory can be planned before it starts."""

from typing import Annotated

from pydantic import Field

from gateway.config.base import Number, Section

Count = Annotated[int, Field(ge=1, le=1 << 30), Number]
Gib = Annotated[float, Field(ge=0, le=1 << 20), Number]
Text = Annotated[str, Field(min_length=1, max_length=256)]


class Deploy(Section):
    """One replica's GPUs, and how its engine is started."""

    gpu: Text = Field(description="The GPU, such as H100, L4 or RTX-4090.")
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
        "variant's tag where it names one, else none.",
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
