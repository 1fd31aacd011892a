"""What each layer of a config.json keeps for a sequence: attention of some kind, or a state.

Source: transformers 5.23 configuration classes; vLLM 0.33 model definitions (which layers slide,
how far, and what a state is made of: `layers/mamba/mamba_utils.py`).
"""

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Attention, LatentAttention, Mixer
from gateway.sizing.families import Family
from gateway.sizing.keys import Keys
from gateway.sizing.states import delta_net, mamba1, mamba2, short_convolution

_KINDS = {
    "M": "mamba",
    "*": "attention",
    "-": "feed",
    "E": "feed",
    "mlp": "feed",
    "moe": "feed",
    "hybrid": "attention",
}


def mixers(
    keys: Keys, family: Family, kind: str, hidden: int, count: int
) -> list[tuple[Mixer, ...]]:
    """One entry for each layer. Raises PlanInvalid."""
    kinds = layer_kinds(keys, kind, count)
    if kind == "falcon_h1":
        both = (mamba2(keys, hidden), attention(keys, hidden))
        return [both] * count
    if kind == "zamba2":
        state = mamba2(keys, hidden)
        shared = attention(keys, 2 * hidden)
        hybrid = keys.words("layers_block_type", count) or ["mamba"] * count
        return [(state, shared) if one == "hybrid" else (state,) for one in hybrid]
    windows = _windows(keys, family, count)
    chunks = _chunks(keys, kind, count)
    shared_from = count - keys.count("num_kv_shared_layers")
    return [
        _mixer(keys, kind, one, hidden, windows[number], chunks[number], number >= shared_from)
        for number, one in enumerate(kinds)
    ]


def layer_kinds(keys: Keys, kind: str, count: int) -> list[str]:
    """`attention`, `mamba`, `linear`, `conv` or `feed` for each layer."""
    pattern = keys.find("hybrid_override_pattern")
    if kind in ("mamba", "mamba2", "falcon_mamba"):
        return ["mamba"] * count
    if isinstance(pattern, str):
        if len(pattern) != count or set(pattern) - set("M*-E"):
            raise PlanInvalid('config.json: "hybrid_override_pattern" must name every layer')
        return [_KINDS[one] for one in pattern]
    if kind == "nemotron_h" and (blocks := keys.words("layers_block_type", count)):
        return [_KINDS.get(one, one) for one in blocks]
    if kind == "jamba":
        period, offset = keys.number("attn_layer_period"), keys.count("attn_layer_offset")
        return ["attention" if i % period == offset else "mamba" for i in range(count)]
    if kind == "bamba":
        attends = keys.layers("attn_layer_indices")
        return ["attention" if i in attends else "mamba" for i in range(count)]
    if kind == "kimi_linear":
        full = Keys(keys.part("linear_attn_config"), {}).layers("full_attn_layers")
        return ["attention" if i + 1 in full else "linear" for i in range(count)]
    types = keys.words("layer_types", count)
    if types is None and (every := keys.count("full_attention_interval")):
        return ["attention" if (i + 1) % every == 0 else "linear" for i in range(count)]
    if types is None and kind.startswith("lfm2"):
        attends = keys.layers("full_attn_idxs")
        return ["attention" if i in attends else "conv" for i in range(count)]
    names = {"linear_attention": "linear", "mamba": "mamba", "conv": "conv"}
    return [names.get(one, "attention") for one in types or [""] * count]


def _mixer(
    keys: Keys,
    kind: str,
    layer: str,
    hidden: int,
    window: int | None,
    chunk: int | None,
    is_shared: bool,
) -> tuple[Mixer, ...]:
    match layer:
        case "feed":
            return ()
        case "mamba" if kind in ("jamba", "mamba", "falcon_mamba"):
            return (mamba1(keys, hidden),)
        case "mamba":
            return (mamba2(keys, hidden),)
        case "linear":
            return (delta_net(keys, hidden),)
        case "conv":
            return (short_convolution(keys, hidden),)
        case _:
            if keys.find("kv_lora_rank"):
                return (latent_attention(keys),)
            return (attention(keys, hidden, window, chunk, is_shared=is_shared),)


def attention(
    keys: Keys,
    hidden: int,
    window: int | None = None,
    chunk: int | None = None,
    *,
    is_shared: bool = False,
) -> Attention:
    """Multi-head, grouped or multi-query attention, as the keys say. Raises PlanInvalid."""
    heads = keys.number("num_attention_heads")
    kv_heads = keys.find("num_key_value_heads") or Keys(keys.part("attn_config"), {}).find(
        "num_key_value_heads"
    )
    if kv_heads is None and keys.flag("multi_query") and not keys.flag("new_decoder_architecture"):
        kv_heads = 1
    kv_heads = (
        heads
        if kv_heads is None
        else Keys({"num_key_value_heads": kv_heads}, {}).number("num_key_value_heads")
    )
    if heads % kv_heads:
        raise PlanInvalid(f"config.json: {kv_heads} KV heads do not divide {heads} heads")
    width = keys.number("head_dim", max(1, hidden // heads))
    if window is None:  # what differs in layers that see everything
        width = keys.number("global_head_dim", width)
        kv_heads = keys.number("num_global_key_value_heads", kv_heads)
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=width,
        value_dim=keys.number("v_head_dim", width),
        window=window,
        chunk=chunk,
        shares_cache=is_shared,
        has_output_gate=keys.flag("attn_output_gate"),
    )


def latent_attention(keys: Keys) -> LatentAttention:
    """Multi-head latent attention, with the indexer of sparse attention where there is one."""
    has_index = keys.find("index_topk") is not None
    return LatentAttention(
        heads=keys.number("num_attention_heads"),
        query_rank=keys.count("q_lora_rank") or None,
        latent_rank=keys.number("kv_lora_rank"),
        rope_dim=keys.number("qk_rope_head_dim"),
        nope_dim=keys.number("qk_nope_head_dim"),
        value_dim=keys.number("v_head_dim"),
        index_heads=keys.number("index_n_heads", 64) if has_index else 0,
        index_dim=keys.number("index_head_dim", 128) if has_index else 0,
    )


def _windows(keys: Keys, family: Family, count: int) -> list[int | None]:
    """How many tokens each layer sees; None is all of them."""
    none: list[int | None] = [None] * count
    if not keys.count("sliding_window") or keys.find("use_sliding_window") is False:
        return none
    window = keys.number("sliding_window")
    types = keys.words("layer_types", count)
    if types is not None:
        return [window if "sliding" in one else None for one in types]
    match family.windows:
        case "all":
            return [window] * count
        case "even":
            return [window if i % 2 == 0 else None for i in range(count)]
        case "pattern" | "layer_types" if keys.find("sliding_window_pattern"):
            pattern = keys.find("sliding_window_pattern")
            if isinstance(pattern, str):  # such as LLLG
                return [window if pattern[i % len(pattern)] == "L" else None for i in range(count)]
            every = keys.number("sliding_window_pattern")
            return [window if (i + 1) % every else None for i in range(count)]
        case _:
            if not keys.flag("use_sliding_window"):
                return none
            first = keys.count("max_window_layers")
            return [window if i >= first else None for i in range(count)]


def _chunks(keys: Keys, kind: str, count: int) -> list[int | None]:
    """Llama 4: the layers with rotations attend inside chunks."""
    chunk = keys.count("attention_chunk_size")
    if kind != "llama4_text" or not chunk:
        return [None] * count
    rotates = keys.find("no_rope_layers") or [int((i + 1) % 4 != 0) for i in range(count)]
    if not isinstance(rotates, list) or len(rotates) != count:
        raise PlanInvalid(f'config.json: "no_rope_layers" must list {count} layers')
    return [chunk if rotates[i] else None for i in range(count)]
