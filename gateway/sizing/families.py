"""The model types that are known, and what their config.json leaves unsaid.

A config.json names only what differs from its class's defaults, and many keys have several
names. What is here is the public value of those defaults.

Source: transformers 5.23, `models/*/configuration_*.py`; vLLM 0.33, `model_executor/models`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Windows = Literal["none", "all", "even", "pattern", "layer_types"]


@dataclass(frozen=True, slots=True)
class Family:
    """A model type. `windows`: which layers see only `sliding_window` tokens.

    `all`: every one; `even`: those of even number; `pattern`: all but each nth;
    `layer_types`: as config.json lists them.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    is_gated: bool = True
    windows: Windows = "layer_types"


_GATED = Family()
_PLAIN = Family(is_gated=False)
_QWEN = Family({"vocab_size": 151936})
_TIED_PLAIN = Family({"tie_word_embeddings": True}, is_gated=False)
_GEMMA: Mapping[str, Any] = {"tie_word_embeddings": True, "head_dim": 256}
_GEMMA3 = Family(
    {
        **_GEMMA,
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "rope_local_base_freq": 10000.0,
    },
    windows="pattern",
)
_QWEN_NEXT = Family(
    {
        "head_dim": 256,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "full_attention_interval": 4,
        "attn_output_gate": True,
    }
)
_LATENT = Family(
    {
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "q_lora_rank": None,
    }
)
_MAMBA: Mapping[str, Any] = {"conv_kernel": 4, "expand": 2}

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(
        (
            "llama",
            "mistral3_text",
            "granite",
            "granitemoe",
            "granitemoeshared",
            "olmo",
            "olmo2",
            "olmo3",
            "olmoe",
            "internlm2",
            "internlm3",
            "exaone",
            "seed_oss",
            "smollm3",
            "ernie4_5",
            "ernie4_5_moe",
            "glm",
            "glm4",
            "glm4_moe",
            "chatglm",
            "stablelm",
            "yi",
            "baichuan",
            "minicpm",
            "solar",
            "orion",
            "deepseek",
            "phimoe",
            "dbrx",
            "minimax_m2",
            "minimax_m3",
            "hunyuan",
            "hunyuan_v1_dense",
            "hunyuan_v1_moe",
            "xverse",
            "aquila",
            "telechat2",
            "dots1",
            "bailing_moe",
            "grok-1",
            "mimo",
            "mimo_v2",
            "step3p5",
            "glm4v_text",
            "glm4v_moe_text",
            "helium",
            "afmoe",
            "flex_olmo",
            "youtu",
            "voxtral_text",
            "ministral",
            "ministral3",
            "gemma3n_audio",
        ),
        _GATED,
    ),
    **dict.fromkeys(("mistral", "mixtral", "phi3", "starcoder2_gated"), Family(windows="all")),
    **dict.fromkeys(
        (
            "qwen2",
            "qwen2_moe",
            "qwen3",
            "qwen3_moe",
            "qwen2_vl",
            "qwen2_vl_text",
            "qwen2_5_vl",
            "qwen2_5_vl_text",
            "qwen3_vl_text",
            "qwen3_vl_moe_text",
            "qwen2_5_omni_text",
            "qwen3_omni_moe_text",
            "qwen2_audio",
        ),
        _QWEN,
    ),
    **dict.fromkeys(
        ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), _QWEN_NEXT
    ),
    **dict.fromkeys(
        (
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "kimi_k2",
            "kimi_vl_text",
            "glm4_moe_lite",
            "glm_moe_dsa",
            "longcat_flash",
            "minicpm3",
            "deepseek_vl_v2",
            "mistral4",
            "pangu_ultra_moe",
        ),
        _LATENT,
    ),
    **dict.fromkeys(
        ("opt", "gpt_neox", "phi", "persimmon", "apertus", "arcee", "nemotron", "gptj", "codegen"),
        _PLAIN,
    ),
    **dict.fromkeys(
        ("gpt2", "falcon", "gpt_bigcode", "bloom", "mpt", "RefinedWeb", "RefinedWebModel"),
        _TIED_PLAIN,
    ),
    "starcoder2": Family({"tie_word_embeddings": True}, is_gated=False, windows="all"),
    "cohere": Family({"tie_word_embeddings": True}),
    "cohere2": Family(
        {"tie_word_embeddings": True, "sliding_window_pattern": 4}, windows="pattern"
    ),
    "exaone4": Family({"sliding_window_pattern": 4}, windows="layer_types"),
    "gemma": Family(_GEMMA),
    "gemma2": Family({**_GEMMA, "sliding_window": 4096}, windows="even"),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "gemma3n_text": Family(
        {
            **_GEMMA,
            "vocab_size": 262400,
            "sliding_window": 512,
            "sliding_window_pattern": 5,
            "num_kv_shared_layers": 15,
            "hidden_size_per_layer_input": 256,
            "vocab_size_per_layer_input": 262144,
        },
        windows="pattern",
    ),
    "gemma4_text": Family(
        {
            **_GEMMA,
            "vocab_size": 262144,
            "sliding_window": 512,
            "sliding_window_pattern": 6,
            "vocab_size_per_layer_input": 262144,
        },
        windows="pattern",
    ),
    "gpt_oss": Family({"head_dim": 64, "sliding_window": 128}, windows="even"),
    "llama4_text": Family({"head_dim": 128, "attention_chunk_size": 8192}),
    "jamba": Family(
        {
            "attn_layer_period": 8,
            "attn_layer_offset": 4,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "mamba_d_state": 16,
            "mamba_d_conv": 4,
            "mamba_expand": 2,
        }
    ),
    "bamba": Family({"mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_groups": 1}),
    "granitemoehybrid": Family({"mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_groups": 1}),
    "falcon_h1": Family({"mamba_d_conv": 4, "mamba_n_groups": 1}),
    "zamba2": Family({"mamba_d_conv": 4, "mamba_expand": 2, "mamba_ngroups": 1}),
    "nemotron_h": Family({**_MAMBA, "n_groups": 8, "ssm_state_size": 128}, is_gated=False),
    "mamba": Family({**_MAMBA, "state_size": 16, "tie_word_embeddings": True}),
    "falcon_mamba": Family({**_MAMBA, "state_size": 16, "tie_word_embeddings": True}),
    "mamba2": Family({**_MAMBA, "state_size": 128, "n_groups": 8, "head_dim": 64}),
    "lfm2": Family({"tie_word_embeddings": True, "conv_L_cache": 3}),
    "lfm2_moe": Family({"tie_word_embeddings": True, "conv_L_cache": 3}),
    "kimi_linear": _LATENT,
}
