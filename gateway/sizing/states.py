"""States of fixed size: what Mamba-like layers keep for a sequence, and their weights.

Source: vLLM 0.33, `model_executor/layers/mamba/mamba_utils.py` (shapes) and
`model_executor/models/config.py` (which states are float32 by default).
"""

from gateway.sizing.architecture import State
from gateway.sizing.keys import Keys
from gateway.sizing.units import ceil_div


def mamba1(keys: Keys, hidden: int) -> State:
    """Selective state space: `inner` channels, each with `size` numbers."""
    inner = keys.number("intermediate_size_ssm", _expand(keys) * hidden)
    size = keys.number("mamba_d_state", keys.number("state_size", 16))
    rank = _rank(keys, hidden)
    return State(
        heads=inner,
        channels=inner,
        conv_length=_conv(keys) - 1,
        elements=inner * size,
        matrix_elements=hidden * 2 * inner
        + inner * (rank + 2 * size)
        + rank * inner
        + inner * hidden,
        other_elements=inner * (_conv(keys) + size + 3),
    )


def mamba2(keys: Keys, hidden: int) -> State:
    """State space duality: heads × head_dim × size, and groups that share B and C."""
    heads = keys.number(
        "mamba_n_heads",
        keys.number("mamba_num_heads", keys.number("n_mamba_heads", keys.count("num_heads") or 1)),
    )
    inner = keys.count("mamba_d_ssm") or keys.count("mamba_expand") * hidden
    width = keys.find("mamba_d_head") or keys.find("mamba_head_dim") or keys.find("mamba_headdim")
    if isinstance(width, int):
        inner = heads * width
    elif not inner:
        inner = heads * keys.number("head_dim", max(1, keys.count("expand") * hidden // heads))
    groups = keys.number("mamba_n_groups", keys.number("mamba_ngroups", keys.number("n_groups", 1)))
    size = keys.number(
        "mamba_d_state", keys.number("ssm_state_size", keys.number("state_size", 128))
    )
    channels = inner + 2 * groups * size
    conv = _conv(keys)
    return State(
        heads=heads,
        channels=channels,
        conv_length=conv - 1,
        elements=inner * size,
        matrix_elements=hidden * (inner + channels + heads) + inner * hidden,
        other_elements=channels * (conv + 1) + 3 * heads + inner,
        groups=groups,
        group_channels=2 * size,
        element_bytes=4 if keys.find("mamba_ssm_cache_dtype") == "float32" else None,
    )


def delta_net(keys: Keys, hidden: int) -> State:
    """Gated delta net, or Kimi's delta attention: a matrix for each value head."""
    linear = keys.part("linear_attn_config")
    if linear:
        inner = Keys(linear, {})
        heads, width = inner.number("num_heads"), inner.number("head_dim")
        conv = inner.number("short_conv_kernel_size", 4)
        channels = 3 * heads * width
        return State(
            heads=heads,
            channels=channels,
            conv_length=conv - 1,
            elements=heads * width * width,
            matrix_elements=4 * hidden * heads * width + 2 * (hidden + heads * width) * width,
            other_elements=channels * conv + hidden * heads + heads,
            element_bytes=4,
        )
    key_heads, value_heads = (
        keys.number("linear_num_key_heads"),
        keys.number("linear_num_value_heads"),
    )
    key_dim = key_heads * keys.number("linear_key_head_dim")
    value_dim = value_heads * keys.number("linear_value_head_dim")
    conv = keys.number("linear_conv_kernel_dim")
    channels = 2 * key_dim + value_dim
    is_single = keys.find("mamba_ssm_dtype") == "float32"
    return State(
        heads=key_heads,
        channels=channels,
        conv_length=conv - 1,
        elements=value_dim * keys.number("linear_key_head_dim"),
        matrix_elements=hidden * (channels + value_dim + 2 * value_heads) + value_dim * hidden,
        other_elements=channels * conv + 2 * value_heads + keys.number("linear_value_head_dim"),
        element_bytes=4 if is_single else None,
    )


def short_convolution(keys: Keys, hidden: int) -> State:
    """LFM2's gated short convolution: only the last few inputs are kept."""
    kernel = keys.number("conv_L_cache", 3)
    return State(
        heads=hidden,
        channels=hidden,
        conv_length=kernel - 1,
        elements=0,
        matrix_elements=4 * hidden * hidden,
        other_elements=hidden * kernel,
    )


def _expand(keys: Keys) -> int:
    return keys.number("mamba_expand", keys.number("expand", 2))


def _conv(keys: Keys) -> int:
    return keys.number("mamba_d_conv", keys.number("conv_kernel", 4))


def _rank(keys: Keys, hidden: int) -> int:
    given = keys.find("mamba_dt_rank") or keys.find("time_step_rank")
    return given if isinstance(given, int) else ceil_div(hidden, 16)
