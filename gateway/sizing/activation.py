"""The peak of memory while vLLM profiles one full batch, which it keeps free of KV cache.

There are two peaks, and the higher counts. In the forward pass the widest layer holds its
inputs, its gate and up projections and their product. In the sampler every sequence has a row of
the vocabulary, several times: logits in 16 bits, a float32 copy, probabilities and random
numbers. With 1024 sequences and a large vocabulary the sampler is the higher one.

Sources: vLLM's `gpu_model_runner.profile_run`, `sample/sampler.py`, `worker/gpu/sample`,
`fused_moe/modular_kernel.py`; the two constants were measured on an H100 (version 0.19).
"""

from dataclasses import dataclass

from gateway.sizing.architecture import Architecture, Attention, Experts, LatentAttention, Mlp
from gateway.sizing.gpus import Gpu
from gateway.sizing.units import MIB
from gateway.sizing.versions import VllmVersion

WORKSPACE_BYTES = 50 * MIB
"""cuBLAS's workspaces, which are made during the profile."""
STREAM_COPIES = 3.45
"""Hidden states alive at the peak of a layer: residual, input, output and a part of another."""
LATENT_WORKSPACE_TOKENS = 64 * 1024

_SORTED_BYTES = 38  # bf16 + float32 + sorted values, int64 indices and torch.sort's own buffers
_DRAWN_BYTES = 14  # bf16 + float32 + probabilities + random numbers (or masked logits)
_COPIED_BYTES = 6  # bf16 + float32
_COUNTS_BYTES = 4 + 1 / 8  # an int32 count and a bit for each sequence and token id


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step may hold, and how it is computed."""

    tokens: int
    sequences: int
    length: int
    element_bytes: float = 2
    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    @property
    def rows(self) -> int:
        """Sequences that are sampled at once."""
        return min(self.tokens, self.sequences)


def logit_bytes(model: Architecture, version: VllmVersion, element_bytes: float = 2) -> float:
    """Bytes for each logit at the sampler's peak.

    Logits that are float32 already are not copied.
    """
    saved = 2 if element_bytes == 4 else 0
    if version.uses_second_runner(model) and not version.warms_sampler:
        # before 0.33 the second runner only draws greedily in its profile
        return element_bytes if version.minor >= 28 else _COPIED_BYTES - saved
    if version.sorts_without_triton:
        return _SORTED_BYTES - saved
    return _DRAWN_BYTES - saved


def runner_bytes(model: Architecture, version: VllmVersion, sequences: int) -> float:
    """What the second model runner keeps on the GPU for penalties, on its last stage."""
    if not (version.uses_second_runner(model) and version.counts_consumed):
        return 0
    return sequences * model.vocab * _COUNTS_BYTES


def keeps_buffers(version: VllmVersion, gpu: Gpu, quantization: str) -> bool:
    """Whether mixtures of experts work in buffers of vLLM's, which stay, or of the kernel's.

    Fused kernels take over for MXFP4 on Hopper, and for all narrow floats on Blackwell.
    """
    is_fused = (quantization == "mxfp4" and gpu.at_least(9)) or (
        quantization in ("nvfp4", "fp8") and gpu.at_least(10)
    )
    return version.keeps_expert_buffers and not is_fused


def expert_bytes(model: Architecture, batch: Batch) -> float:
    """Buffers in which mixtures of experts keep intermediate results.

    tokens × active × (max(width, hidden) + max(2 · width, hidden)), the width on one GPU.
    """
    feeds = [layer.feed for layer in model.layers if isinstance(layer.feed, Experts)]
    values = max(
        (_expert_values(feed, model.hidden, batch.tensor_parallel) for feed in feeds), default=0
    )
    return batch.tokens * values * batch.element_bytes


def _expert_values(experts: Experts, hidden: int, tensor_parallel: int) -> int:
    width = experts.intermediate // tensor_parallel
    inside = experts.width or hidden
    gate = (2 if experts.is_gated else 1) * width
    return experts.active * (max(width, inside) + max(gate, inside))


def forward_bytes(model: Architecture, batch: Batch) -> float:
    """The peak of the widest layer: its own values, and the hidden states around it."""
    widest = max(_layer_values(model, number, batch) for number in range(len(model.layers)))
    stream = STREAM_COPIES * model.hidden
    if batch.pipeline_parallel > 1:
        stream += 2 * model.hidden  # hidden states and residual on their way to the next stage
    return batch.tokens * (widest + stream) * batch.element_bytes


def _layer_values(model: Architecture, number: int, batch: Batch) -> float:
    layer = model.layers[number]
    most = 0.0
    for mixer in layer.mixers:
        match mixer:
            case Attention():
                heads = mixer.heads * mixer.head_dim * (2 + mixer.has_output_gate)
                kv = mixer.kv_heads * (mixer.head_dim + mixer.value_dim)
                most = max(most, (heads + kv) / batch.tensor_parallel)
            case LatentAttention():
                own = mixer.heads * (2 * (mixer.nope_dim + mixer.rope_dim) + mixer.value_dim)
                kv = mixer.heads * (mixer.nope_dim + mixer.value_dim)
                # earlier tokens are expanded in pieces of a fixed size
                pieces = min(8 * batch.length, LATENT_WORKSPACE_TOKENS) / batch.tokens
                most = max(most, (own + kv * pieces) / batch.tensor_parallel)
            case _:
                most = max(most, 2 * (mixer.channels + mixer.heads) / batch.tensor_parallel)
    match layer.feed:
        case Mlp(intermediate=width):
            most = max(most, layer.feed.matrices * width / batch.tensor_parallel)
        case Experts() as experts:
            most = max(most, experts.matrices * experts.shared / batch.tensor_parallel)
        case _:
            pass
    return most


def encoder_bytes(model: Architecture, batch: Batch) -> tuple[float, float]:
    """Peak of the encoder in the profile, and what its outputs take while the rest runs.

    As many of the largest items as fit one batch, at least one.
    """
    tower = model.tower
    if tower is None:
        return 0, 0
    items = max(1, min(batch.tokens // tower.item_tokens, batch.sequences))
    patches = items * tower.item_patches
    inside = 3 * tower.width + 2 * tower.intermediate
    outputs = items * tower.item_tokens * model.hidden
    return patches * inside * batch.element_bytes, outputs * batch.element_bytes


def peak_bytes(
    model: Architecture,
    version: VllmVersion,
    gpu: Gpu,
    batch: Batch,
    *,
    quantization: str = "bf16",
    is_last: bool = True,
) -> float:
    """What one GPU of a stage needs beside weights while a full batch runs.

    Only the last stage samples.
    """
    encoding, encoded = encoder_bytes(model, batch)
    experts = expert_bytes(model, batch)
    stays = keeps_buffers(version, gpu, quantization)
    peak = forward_bytes(model, batch) + encoded + (0 if stays else experts)
    if is_last:
        logits = batch.rows * model.vocab * logit_bytes(model, version, batch.element_bytes)
        if not version.sorts_without_triton and not _has_flashinfer(version, gpu):
            logits += gpu.multiprocessors * model.vocab * 4  # Triton's buffer for each processor
        held = batch.tokens * model.hidden * batch.element_bytes
        peak = max(peak, logits + held + encoded)
    return max(peak, encoding) + (experts if stays else 0) + WORKSPACE_BYTES


def _has_flashinfer(version: VllmVersion, gpu: Gpu) -> bool:
    return version.samples_with_flashinfer and gpu.at_least(7, 5)
