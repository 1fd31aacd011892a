"""The feed-forward part of each layer of a config.json: dense, or a mixture of experts.

Source: transformers 5.23 configuration classes; vLLM 0.33 model definitions.
"""

from gateway.sizing.architecture import Experts, Mlp
from gateway.sizing.families import Family
from gateway.sizing.keys import Keys
from gateway.sizing.mixers import layer_kinds

Feed = Mlp | Experts | None


def feeds(keys: Keys, family: Family, kind: str, hidden: int, count: int) -> list[Feed]:
    """One entry for each layer. Raises PlanInvalid."""
    if kind in ("mamba", "mamba2", "falcon_mamba"):
        return [None] * count
    if kind == "nemotron_h":
        return _nemotron(keys, count)
    if kind == "zamba2":
        hybrid = keys.words("layers_block_type", count) or ["mamba"] * count
        shared = Mlp(keys.number("intermediate_size", 4 * hidden), is_gated=True)
        return [shared if one == "hybrid" else None for one in hybrid]
    widths = _dense_widths(keys, kind, hidden, count)
    is_expert = _expert_layers(keys, kind, count)
    if not any(is_expert):
        return [Mlp(width, family.is_gated) for width in widths]
    experts = _experts(keys, kind)
    return [
        experts if sparse else Mlp(width, family.is_gated)
        for sparse, width in zip(is_expert, widths, strict=True)
    ]


def _dense_widths(keys: Keys, kind: str, hidden: int, count: int) -> list[int]:
    if kind == "llama4_text":
        return [keys.number("intermediate_size_mlp")] * count
    if kind.startswith("lfm2") and keys.flag("block_auto_adjust_ff_dim"):
        inner = int(2 * keys.number("intermediate_size") / 3)
        multiple = keys.number("block_multiple_of", 256)
        return [-(-inner // multiple) * multiple] * count
    if keys.find("intermediate_size") is None and not keys.find("ffn_config"):
        return [keys.number("expert_intermediate", 4 * hidden)] * count
    if keys.find("ffn_config"):
        return [Keys(keys.part("ffn_config"), {}).number("intermediate_size")] * count
    return keys.numbers("intermediate_size", count)


def _experts(keys: Keys, kind: str) -> Experts:
    inner = Keys(keys.part("ffn_config"), {}) if keys.find("ffn_config") else keys
    named = "expert_intermediate" if inner.find("expert_intermediate") else "intermediate_size"
    width = inner.number(named)
    shared = keys.count("shared_expert_intermediate_size") or keys.count("shared_intermediate_size")
    many = keys.count("n_shared_experts") or keys.count("moe_num_shared_experts")
    many = many or keys.count("num_shared_expert") or keys.count("num_shared_experts")
    if kind == "llama4_text":
        many = 1
    return Experts(
        count=inner.number("experts"),
        active=inner.number("active_experts", 1),
        intermediate=width,
        shared=shared or many * width,
    )


def _expert_layers(keys: Keys, kind: str, count: int) -> list[bool]:
    """Which layers are mixtures of experts."""
    inner = Keys(keys.part("ffn_config"), {}) if keys.find("ffn_config") else keys
    if inner.count("experts") <= 1:
        return [False] * count
    if kind == "jamba":
        period, offset = keys.number("expert_layer_period"), keys.count("expert_layer_offset")
        return [i % period == offset for i in range(count)]
    if kind == "llama4_text":
        step = keys.number("interleave_moe_layer_step", 1)
        listed = keys.layers("moe_layers")
        return [i in listed if listed else (i + 1) % step == 0 for i in range(count)]
    dense = keys.layers("mlp_only_layers")
    first = keys.count("first_k_dense_replace") or keys.count("moe_layer_start_index")
    first = first or keys.count("num_dense_layers")
    step = keys.count("decoder_sparse_step") or keys.count("moe_layer_freq") or 1
    if keys.count("first_k_dense_replace"):
        return [i >= first and i % step == 0 for i in range(count)]
    return [i >= first and i not in dense and (i + 1) % step == 0 for i in range(count)]


def _nemotron(keys: Keys, count: int) -> list[Feed]:
    pattern = keys.find("hybrid_override_pattern") or keys.words("layers_block_type", count) or ""
    kinds = layer_kinds(keys, "nemotron_h", count)
    dense = Mlp(keys.number("intermediate_size", 1), is_gated=False)
    made: list[Feed] = []
    for number, one in enumerate(kinds):
        if one != "feed":
            made.append(None)
        elif pattern[number] in ("E", "moe"):
            width = keys.number("expert_intermediate")
            made.append(
                Experts(
                    count=keys.number("experts"),
                    active=keys.number("active_experts"),
                    intermediate=width,
                    shared=keys.count("moe_shared_expert_intermediate_size"),
                    is_gated=False,
                    width=keys.count("moe_latent_size") or None,
                )
            )
        else:
            made.append(dense)
    return made
