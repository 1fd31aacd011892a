"""How many bytes of weights lie on one GPU.

Every matrix of the model is counted with the part it belongs to, which decides its width, and
with the number of shards it can be cut into: tensor parallelism divides matrices, but copies
norms, routers and latent projections, and copies KV heads where there are more GPUs than heads.

Reproduces the published parameter counts of the usual models to 0.1 %.
Source: vLLM 0.33 `model_executor/models` (what is sharded) and `layers/quantization` (what is
quantized).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.sizing.architecture import (
    Architecture,
    Attention,
    Experts,
    LatentAttention,
    Layer,
    Mlp,
)
from gateway.sizing.parts import Part
from gateway.sizing.units import round_up

VOCAB_MULTIPLE = 64
"""Vocabularies are padded to this, so that tensor parallelism can cut them."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Some weights. `shards`: the most pieces they can be cut into, None any number."""

    part: Part
    elements: int
    shards: int | None = None

    def share(self, tensor_parallel: int) -> float:
        """The part of it that lies on one GPU."""
        cuts = tensor_parallel if self.shards is None else min(self.shards, tensor_parallel)
        return self.elements / cuts


def layer_matrices(layer: Layer, hidden: int) -> Iterator[Matrix]:
    """The weights of one layer."""
    norms = len(layer.mixers) + (layer.feed is not None)
    yield Matrix(Part.NORM, norms * hidden, 1)
    for mixer in layer.mixers:
        match mixer:
            case Attention():
                yield from _attention(mixer, hidden)
            case LatentAttention():
                yield from _latent(mixer, hidden)
            case _:
                yield Matrix(Part.STATE, mixer.matrix_elements)
                yield Matrix(Part.NORM, mixer.other_elements)
    match layer.feed:
        case Mlp(intermediate=width):
            yield Matrix(Part.MLP, layer.feed.matrices * hidden * width)
        case Experts() as experts:
            inside = experts.width or hidden
            each = experts.matrices * inside * experts.intermediate
            yield Matrix(Part.EXPERTS, experts.count * each)
            yield Matrix(Part.ROUTER, experts.count * hidden, 1)
            yield Matrix(Part.MLP, experts.matrices * hidden * experts.shared)
            if experts.width:
                yield Matrix(Part.MLP, 2 * hidden * experts.width, 1)
        case _:
            pass


def _attention(mixer: Attention, hidden: int) -> Iterator[Matrix]:
    queries = mixer.heads * mixer.head_dim * (2 if mixer.has_output_gate else 1)
    yield Matrix(Part.ATTENTION, hidden * queries)
    yield Matrix(Part.ATTENTION, mixer.heads * mixer.value_dim * hidden)
    if not mixer.shares_cache:
        kv = mixer.kv_heads * (mixer.head_dim + mixer.value_dim)
        yield Matrix(Part.ATTENTION, hidden * kv, mixer.kv_heads)


def _latent(mixer: LatentAttention, hidden: int) -> Iterator[Matrix]:
    queries = mixer.heads * (mixer.nope_dim + mixer.rope_dim)
    if mixer.query_rank is None:
        yield Matrix(Part.ATTENTION, hidden * queries)
    else:
        yield Matrix(Part.ATTENTION, hidden * mixer.query_rank, 1)
        yield Matrix(Part.ATTENTION, mixer.query_rank * queries)
    expanded = mixer.latent_rank * mixer.heads * (mixer.nope_dim + mixer.value_dim)
    yield Matrix(Part.ATTENTION, hidden * (mixer.latent_rank + mixer.rope_dim), 1)
    yield Matrix(Part.ATTENTION, expanded)
    yield Matrix(Part.ATTENTION, mixer.heads * mixer.value_dim * hidden)
    # kept in 16 bits beside the projection it was made from, so that decoding stays latent
    yield Matrix(Part.ABSORBED, expanded)
    if mixer.index_dim:
        index = mixer.index_heads * mixer.index_dim
        yield Matrix(Part.ATTENTION, (mixer.query_rank or hidden) * index, 1)
        yield Matrix(Part.ATTENTION, hidden * (mixer.index_dim + mixer.index_heads), 1)


def stage_matrices(model: Architecture, first: int, last: int) -> Iterator[Matrix]:
    """The weights of the layers from `first` up to `last`, with what stands before and after."""
    vocabulary = round_up(model.vocab, VOCAB_MULTIPLE) * model.hidden
    is_first, is_last = first == 0, last == len(model.layers)
    if is_first or (is_last and model.is_tied):
        yield Matrix(Part.EMBEDDING, vocabulary)
    if is_first:
        yield Matrix(Part.EMBEDDING, model.other_elements)
        if model.tower is not None:
            yield Matrix(Part.TOWER, model.tower.matrix_elements)
            yield Matrix(Part.NORM, model.tower.other_elements, 1)
    for layer in model.layers[first:last]:
        yield from layer_matrices(layer, model.hidden)
    if is_last:
        yield Matrix(Part.NORM, model.hidden, 1)
        if not model.is_tied:
            yield Matrix(Part.HEAD, vocabulary)
    yield Matrix(Part.ROPE, model.rope_elements, 1)


def stages(layers: int, pipeline_parallel: int) -> list[tuple[int, int]]:
    """Which layers each stage holds.

    As even as it goes; what is left over goes to the stages before the last, which also
    has the output.
    """
    counts = [layers // pipeline_parallel] * pipeline_parallel
    for extra in range(layers % pipeline_parallel):
        counts[-2 - extra] += 1
    starts = [sum(counts[:number]) for number in range(pipeline_parallel)]
    return [(start, start + count) for start, count in zip(starts, counts, strict=True)]


def parameters(model: Architecture) -> int:
    """How many weights the model has, as it is published."""
    counted = stage_matrices(model, 0, len(model.layers))
    padding = (round_up(model.vocab, VOCAB_MULTIPLE) - model.vocab) * model.hidden
    tables = (Part.EMBEDDING, Part.HEAD)
    matrices = [one for one in counted if one.part not in (Part.ROPE, Part.ABSORBED)]
    padded = sum(one.part in tables and one.elements >= model.vocab for one in matrices)
    return sum(one.elements for one in matrices) - padding * min(padded, 2 - model.is_tied)


def stage_bytes(
    model: Architecture,
    span: tuple[int, int],
    bits: Mapping[Part, float],
    *,
    tensor_parallel: int = 1,
    keeps_absorbed: bool = True,
    expert_padding: float = 1.0,
) -> dict[Part, float]:
    """Bytes on one GPU of a stage, by part.

    `expert_padding`: how much larger the experts are stored than they are.
    """
    sizes: dict[Part, float] = {}
    for matrix in stage_matrices(model, *span):
        if matrix.part is Part.ABSORBED and not keeps_absorbed:
            continue
        size = matrix.share(tensor_parallel) * bits[matrix.part] / 8
        if matrix.part is Part.EXPERTS:
            size *= expert_padding
        sizes[matrix.part] = sizes.get(matrix.part, 0) + size
    return sizes
