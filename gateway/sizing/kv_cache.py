"""The KV cache: how many bytes a block takes, how many blocks there are, who fits into them.

vLLM cuts what is left of the GPU into blocks of some tokens of some layers. Layers of one kind
form a group; where a model has several kinds, each is cut into groups of the same number of
layers, padded where it does not come out even, and all groups draw blocks from one pool. A
sequence holds blocks of every group, so capacity depends on the length, and a window or a state
saves only what lies beyond it.

Source: vLLM 0.33 `v1/core/kv_cache_planning.py`, `v1/kv_cache_interface.py`,
`platforms/interface.py` (block size of hybrids).
"""

from collections import Counter
from dataclasses import dataclass

from gateway.sizing.architecture import Architecture, Attention, LatentAttention, Mixer, State
from gateway.sizing.units import ceil_div, round_up

BLOCK_TOKENS = 16
LATENT_BLOCK_TOKENS = 64
_PACKED_LATENT_BYTES = 656  # 512 values of 8 bits, 4 scales, 64 rotated of 16
_INDEX_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """How the cache is stored and shared out.

    `element_bytes`: of keys and values, 1 for 8 bits, 0.5625 for NVFP4; `scale_bytes`: beside
    every head of a token; `in_flight_tokens`: scheduled and not yet settled, which windows keep
    on top; `state_blocks`: of a sequence, for each state.
    """

    tensor_parallel: int = 1
    element_bytes: float = 2
    state_element_bytes: float = 2
    scale_bytes: int = 0
    block_tokens: int | None = None
    in_flight_tokens: int = 8192
    state_blocks: int = 1
    is_packed_latent: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Layers of one kind that share block tables. `page_bytes`: of one layer's block."""

    mixer: Mixer
    layers: int
    page_bytes: int
    block_tokens: int

    def blocks(self, tokens: int, options: CacheOptions) -> int:
        """Blocks that a sequence of so many tokens holds at most."""
        match self.mixer:
            case State():
                return options.state_blocks
            case Attention(window=int(window)):
                kept = min(window - 1 + options.in_flight_tokens, tokens)
                return ceil_div(kept, self.block_tokens) + 1
            case Attention(chunk=int(chunk)):
                kept = min(chunk + options.in_flight_tokens, tokens)
                return ceil_div(kept, self.block_tokens)
            case _:
                return ceil_div(tokens, self.block_tokens)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model's cache is cut. `block_bytes`: what one block takes of the pool."""

    groups: tuple[Group, ...]
    block_bytes: int
    options: CacheOptions

    @property
    def block_tokens(self) -> int:
        return min(group.block_tokens for group in self.groups)

    def blocks(self, tokens: int) -> int:
        """Blocks that one sequence holds at most."""
        return sum(group.blocks(tokens, self.options) for group in self.groups)

    def longest(self, blocks: int, limit: int) -> int:
        """The largest length up to `limit` that so many blocks hold; 0 when none is."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            if self.blocks(middle) <= blocks:
                low = middle
            else:
                high = middle - 1
        return low


def token_bytes(mixer: Mixer, options: CacheOptions) -> float:
    """What one token of one layer takes on one GPU; 0 for a state.

    kv_heads ÷ tensor_parallel × (head_dim + value_dim) × bytes, at least one head; a latent is
    not divided. A layer that reads the cache of another adds nothing.
    """
    match mixer:
        case Attention(shares_cache=True):
            return 0
        case Attention():
            heads = max(1, ceil_div(mixer.kv_heads, options.tensor_parallel))
            each = (mixer.head_dim + mixer.value_dim) * options.element_bytes
            return heads * (each + 2 * options.scale_bytes)
        case LatentAttention():
            if options.is_packed_latent and mixer.latent_rank == 512:
                latent: float = _PACKED_LATENT_BYTES
            else:
                latent = (mixer.latent_rank + mixer.rope_dim) * options.element_bytes
            return latent + (mixer.index_dim + _INDEX_SCALE_BYTES if mixer.index_dim else 0)
        case _:
            return 0


def state_bytes(state: State, options: CacheOptions) -> int:
    """What one sequence's state of one layer takes on one GPU.

    Groups are copied where there are more GPUs than groups.
    """
    parallel = options.tensor_parallel
    extra = parallel - state.groups if state.groups and state.groups % parallel else 0
    channels = (state.channels + extra * state.group_channels) // parallel
    wide = options.state_element_bytes
    recurrent = state.elements // parallel * (state.element_bytes or wide)
    return int(channels * state.conv_length * wide + recurrent)


def layout(model: Architecture, options: CacheOptions) -> Layout | None:
    """How the cache is cut; None for a model that keeps nothing.

    The groups come from all the layers of the model; a pipeline stage has its share of each.
    """
    kinds = Counter(
        mixer for mixer in model.mixers if not (isinstance(mixer, Attention) and mixer.shares_cache)
    )
    if not kinds:
        return None
    tokens = options.block_tokens or (LATENT_BLOCK_TOKENS if model.has_latent else BLOCK_TOKENS)
    states = [state_bytes(kind, options) for kind in kinds if isinstance(kind, State)]
    each = [token_bytes(kind, options) for kind in kinds if not isinstance(kind, State)]
    if states and each:
        # a block of attention must be as large as a state, so that both fit the same pool
        tokens = max(tokens, round_up(ceil_div(max(states), int(max(each))), tokens))
    page = max((int(tokens * one) for one in each), default=0)
    page = max([page, *states])
    size = _group_size(list(kinds.values()))
    groups = []
    for kind, count in kinds.items():
        own = int(tokens * token_bytes(kind, options))
        stretch = page // own if own else 1  # smaller tokens: more of them in a block
        groups += [Group(kind, layers, page, tokens * stretch) for layers in _split(count, size)]
    return Layout(tuple(groups), page * size, options)


def stage_block_bytes(model: Architecture, cut: Layout, span: tuple[int, int]) -> int:
    """What one block takes on a pipeline stage that holds the layers `span`.

    The nth layer of a kind belongs to group n modulo the kind's groups; the block is as large
    as the group with the most layers here. 0 when the stage keeps nothing.
    """
    groups = Counter(group.mixer for group in cut.groups)
    seen: Counter[Mixer] = Counter()
    here: Counter[tuple[Mixer, int]] = Counter()
    for number, layer in enumerate(model.layers):
        for mixer in layer.mixers:
            if mixer in groups:
                if span[0] <= number < span[1]:
                    here[mixer, seen[mixer] % groups[mixer]] += 1
                seen[mixer] += 1
    return cut.groups[0].page_bytes * max(here.values(), default=0)


def _group_size(counts: list[int]) -> int:
    """Layers in a group: of the rarest kind, or of the commonest if it has few more."""
    few, many = min(counts), max(counts)
    return many if many < few * 1.5 else few


def _split(count: int, size: int) -> list[int]:
    """Every nth layer goes to the nth group; some groups may have one less than `size`."""
    groups = ceil_div(count, size)
    return [len(range(number, count, groups)) for number in range(groups)]
