"""What of a model decides its memory: its layers, and what stands around them.

An architecture is read from a config.json or from GGUF metadata and knows no engine and no GPU.
A layer has mixers, which keep something for each sequence (keys and values, a latent, a state),
and a feed-forward part, which only has weights.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Attention:
    """Keys and values for each token: multi-head, grouped or multi-query.

    `window`: only the last so many tokens are seen; `chunk`: only those of the same chunk; None
    in both is full attention. `shares_cache`: it reads the cache of an earlier layer.
    """

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None = None
    chunk: int | None = None
    shares_cache: bool = False
    has_output_gate: bool = False


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """One compressed vector for each token in place of keys and values (MLA).

    `query_rank` None: queries are projected at once. `index_dim`: what a sparse indexer keeps
    for each token, 0 without one.
    """

    heads: int
    query_rank: int | None
    latent_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    index_heads: int = 0
    index_dim: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """A state of fixed size for each sequence: Mamba, gated delta net, short convolution.

    `channels` × `conv_length` is what the convolution remembers, of which `group_channels` come
    from `groups` that are copied where tensor parallelism has more shards; `elements` is the
    recurrent state. `element_bytes` None: as wide as the model computes.
    """

    heads: int
    channels: int
    conv_length: int
    elements: int
    matrix_elements: int
    other_elements: int
    groups: int = 0
    group_channels: int = 0
    element_bytes: int | None = None


Mixer = Attention | LatentAttention | State


@dataclass(frozen=True, slots=True)
class Mlp:
    """A dense feed-forward part; a gated one has three matrices, another two."""

    intermediate: int
    is_gated: bool = True

    @property
    def matrices(self) -> int:
        return 3 if self.is_gated else 2


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts; `shared` is the width of those that every token passes.

    `width`: what goes into an expert, when it is not the hidden size (latent experts).
    """

    count: int
    active: int
    intermediate: int
    shared: int = 0
    is_gated: bool = True
    width: int | None = None

    @property
    def matrices(self) -> int:
        return 3 if self.is_gated else 2


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. `feed` None: it only mixes."""

    mixers: tuple[Mixer, ...]
    feed: Mlp | Experts | None


@dataclass(frozen=True, slots=True)
class Tower:
    """An encoder for images or sound.

    `matrix_elements` can be quantized, `other_elements` cannot; `item_tokens` is what one item
    takes in the prompt, `item_patches` what it takes in the encoder, `width` and `intermediate`
    the size of a patch on its way.
    """

    layers: int
    width: int
    intermediate: int
    matrix_elements: int
    other_elements: int
    item_tokens: int
    item_patches: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model. `longest` is the largest length it was made for, None where it has no limit.

    `rope_elements`: the table of rotations that engines keep; `other_elements`: embeddings
    beside the first one. `quantization`: what a checkpoint says of itself, None when it is not
    quantized. `dtype`: the checkpoint's, in torch's words.
    """

    model_type: str
    hidden: int
    vocab: int
    is_tied: bool
    layers: tuple[Layer, ...]
    longest: int | None
    dtype: str
    rope_elements: int = 0
    other_elements: int = 0
    tower: Tower | None = None
    quantization: dict[str, Any] | None = None
    name: str = ""

    @property
    def mixers(self) -> tuple[Mixer, ...]:
        return tuple(mixer for layer in self.layers for mixer in layer.mixers)

    @property
    def attentions(self) -> tuple[Attention | LatentAttention, ...]:
        return tuple(mixer for mixer in self.mixers if not isinstance(mixer, State))

    @property
    def has_state(self) -> bool:
        return any(isinstance(mixer, State) for mixer in self.mixers)

    @property
    def has_latent(self) -> bool:
        return any(isinstance(mixer, LatentAttention) for mixer in self.mixers)

    @property
    def has_experts(self) -> bool:
        return any(isinstance(layer.feed, Experts) for layer in self.layers)
