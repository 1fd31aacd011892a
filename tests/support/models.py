"""Published config.json files, as far as memory planning reads them."""

from typing import Any

from gateway.sizing.architecture import Architecture
from gateway.sizing.config_json import read_architecture
from gateway.sizing.deployment import Deployment
from gateway.sizing.gpus import find_gpu
from gateway.sizing.plan import Plan
from gateway.sizing.planner import plans
from gateway.sizing.recommend import machine_of
from gateway.sizing.speed import ASSUMED, Efficiency, Machine

Config = dict[str, Any]


def a_config(kind: str, hidden: int, layers: int, heads: int, kv: int, **more: Any) -> Config:
    """A config.json; `more` are further keys of it."""
    return {
        "model_type": kind,
        "torch_dtype": "bfloat16",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "tie_word_embeddings": False,
        **more,
    }


def _dense(
    kind: str,
    hidden: int,
    layers: int,
    heads: int,
    kv: int,
    inner: int,
    vocab: int,
    longest: int,
    **more: Any,
) -> Config:
    return a_config(
        kind,
        hidden,
        layers,
        heads,
        kv,
        intermediate_size=inner,
        vocab_size=vocab,
        max_position_embeddings=longest,
        **more,
    )


_LLAMA3 = {
    "rope_scaling": {
        "factor": 8.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }
}
_SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "image_size": 896,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
}

CONFIGS: dict[str, Config] = {
    "llama-3.1-8b": _dense("llama", 4096, 32, 32, 8, 14336, 128256, 131072, **_LLAMA3),
    "llama-3.1-70b": _dense("llama", 8192, 80, 64, 8, 28672, 128256, 131072, **_LLAMA3),
    "codellama-7b": _dense("llama", 4096, 32, 32, 32, 11008, 32016, 16384),
    "qwen2.5-7b": _dense(
        "qwen2", 3584, 28, 28, 4, 18944, 152064, 32768,
        sliding_window=131072, use_sliding_window=False, max_window_layers=28,
    ),
    "qwen2.5-32b": _dense("qwen2", 5120, 64, 40, 8, 27648, 152064, 32768, use_sliding_window=False),
    "qwen3-8b": _dense("qwen3", 4096, 36, 32, 8, 12288, 151936, 40960, head_dim=128),
    "qwen3-14b": _dense("qwen3", 5120, 40, 40, 8, 17408, 151936, 40960, head_dim=128),
    "qwen3-32b": _dense("qwen3", 5120, 64, 64, 8, 25600, 151936, 40960, head_dim=128),
    "qwen3-30b-a3b": _dense(
        "qwen3_moe", 2048, 48, 32, 4, 6144, 151936, 40960, head_dim=128,
        moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8, decoder_sparse_step=1,
        mlp_only_layers=[],
    ),
    "qwen1.5-moe-a2.7b": _dense(
        "qwen2_moe", 2048, 24, 16, 16, 5632, 151936, 8192, moe_intermediate_size=1408,
        shared_expert_intermediate_size=5632, num_experts=60, num_experts_per_tok=4,
        use_sliding_window=False,
    ),
    "mistral-7b-v0.3": _dense(
        "mistral", 4096, 32, 32, 8, 14336, 32768, 32768, sliding_window=None
    ),
    "mistral-7b-v0.1": _dense(
        "mistral", 4096, 32, 32, 8, 14336, 32000, 32768, sliding_window=4096
    ),
    "mixtral-8x7b": _dense(
        "mixtral", 4096, 32, 32, 8, 14336, 32000, 32768,
        num_local_experts=8, num_experts_per_tok=2, sliding_window=None,
    ),
    "mistral-small-3.1-24b": {
        "model_type": "mistral3",
        "torch_dtype": "bfloat16",
        "spatial_merge_size": 2,
        "text_config": _dense(
            "mistral", 5120, 40, 32, 8, 32768, 131072, 131072, head_dim=128, sliding_window=None
        ),
        "vision_config": {
            "model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096,
            "image_size": 1540, "num_hidden_layers": 24, "num_attention_heads": 16,
            "patch_size": 14,
        },
    },
    "phi-4": _dense("phi3", 5120, 40, 40, 10, 17920, 100352, 16384, sliding_window=None),
    "phi-2": _dense("phi", 2560, 32, 32, 32, 10240, 51200, 2048),
    "phi-3.5-mini": _dense(
        "phi3", 3072, 32, 32, 32, 8192, 32064, 131072, sliding_window=262144,
        rope_scaling={"type": "longrope"},
    ),
    "granite-3.1-8b": _dense(
        "granite", 4096, 40, 32, 8, 12800, 49155, 131072, tie_word_embeddings=True
    ),
    "gemma-7b": _dense(
        "gemma", 3072, 28, 16, 16, 24576, 256000, 8192, head_dim=256, tie_word_embeddings=True
    ),
    "gemma-2-2b": _dense(
        "gemma2", 2304, 26, 8, 4, 9216, 256000, 8192, head_dim=256, sliding_window=4096,
        tie_word_embeddings=True,
    ),
    "gemma-2-9b": _dense(
        "gemma2", 3584, 42, 16, 8, 14336, 256000, 8192, head_dim=256, sliding_window=4096,
        tie_word_embeddings=True,
    ),
    "gemma-2-27b": _dense(
        "gemma2", 4608, 46, 32, 16, 36864, 256000, 8192, head_dim=128, sliding_window=4096,
        tie_word_embeddings=True,
    ),
    # these two say no more: the rest is the class's defaults
    "gemma-3-4b": {
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "mm_tokens_per_image": 256,
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
            "num_hidden_layers": 34, "sliding_window": 1024,
        },
        "vision_config": _SIGLIP,
    },
    "gemma-3-27b": {
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "mm_tokens_per_image": 256,
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504,
            "num_hidden_layers": 62, "sliding_window": 1024, "num_attention_heads": 32,
            "num_key_value_heads": 16, "head_dim": 128,
        },
        "vision_config": _SIGLIP,
    },
    "gemma-3-12b": {
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "mm_tokens_per_image": 256,
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 3840, "intermediate_size": 15360,
            "num_hidden_layers": 48, "sliding_window": 1024, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 256,
        },
        "vision_config": _SIGLIP,
    },
    "gpt-oss-20b": _dense(
        "gpt_oss", 2880, 24, 64, 8, 2880, 201088, 131072, head_dim=64, sliding_window=128,
        num_local_experts=32, num_experts_per_tok=4,
        layer_types=["sliding_attention", "full_attention"] * 12,
        quantization_config={
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
                "lm_head",
            ],
        },
    ),
    "gpt-oss-120b": _dense(
        "gpt_oss", 2880, 36, 64, 8, 2880, 201088, 131072, head_dim=64, sliding_window=128,
        num_local_experts=128, num_experts_per_tok=4,
        layer_types=["sliding_attention", "full_attention"] * 18,
        quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
    ),
    "deepseek-v3": _dense(
        "deepseek_v3", 7168, 61, 128, 128, 18432, 129280, 163840,
        kv_lora_rank=512, q_lora_rank=1536, qk_rope_head_dim=64, qk_nope_head_dim=128,
        v_head_dim=128, n_routed_experts=256, n_shared_experts=1, moe_intermediate_size=2048,
        num_experts_per_tok=8, first_k_dense_replace=3, moe_layer_freq=1,
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
    ),
    "deepseek-v2-lite": _dense(
        "deepseek_v2", 2048, 27, 16, 16, 10944, 102400, 163840,
        kv_lora_rank=512, q_lora_rank=None, qk_rope_head_dim=64, qk_nope_head_dim=128,
        v_head_dim=128, n_routed_experts=64, n_shared_experts=2, moe_intermediate_size=1408,
        num_experts_per_tok=6, first_k_dense_replace=1, moe_layer_freq=1,
    ),
    "llama-4-scout": {
        "model_type": "llama4",
        "torch_dtype": "bfloat16",
        "text_config": _dense(
            "llama4_text", 5120, 48, 40, 8, 8192, 202048, 10485760, head_dim=128,
            intermediate_size_mlp=16384, num_local_experts=16, num_experts_per_tok=1,
            interleave_moe_layer_step=1, attention_chunk_size=8192,
            no_rope_layers=[1, 1, 1, 0] * 12,
        ),
        "vision_config": {
            "model_type": "llama4_vision_model", "hidden_size": 1408, "intermediate_size": 5632,
            "num_hidden_layers": 34, "image_size": 336, "patch_size": 14,
        },
    },
    "nemotron-h-8b": a_config(
        "nemotron_h", 4096, 52, 32, 8, intermediate_size=21504, vocab_size=131072,
        max_position_embeddings=8192, head_dim=128, mamba_num_heads=128, mamba_head_dim=64,
        n_groups=8, ssm_state_size=128, conv_kernel=4,
        hybrid_override_pattern="M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    ),
    "bamba-9b": a_config(
        "bamba", 4096, 32, 32, 8, intermediate_size=14336, vocab_size=128256,
        max_position_embeddings=262144, attn_layer_indices=[9, 18, 27], mamba_n_heads=128,
        mamba_d_head=64, mamba_n_groups=1, mamba_d_state=128, mamba_d_conv=4, mamba_expand=2,
    ),
    "jamba-mini": a_config(
        "jamba", 4096, 32, 32, 8, intermediate_size=14336, vocab_size=65536,
        max_position_embeddings=262144, num_experts=16, num_experts_per_tok=2,
        mamba_d_state=16, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=256,
    ),
    "qwen3-next-80b": _dense(
        "qwen3_next", 2048, 48, 16, 2, 5120, 151936, 262144, head_dim=256,
        moe_intermediate_size=512, shared_expert_intermediate_size=512, num_experts=512,
        num_experts_per_tok=10, decoder_sparse_step=1, mlp_only_layers=[],
    ),
    "qwen2.5-vl-7b": _dense(
        "qwen2_5_vl", 3584, 28, 28, 4, 18944, 152064, 128000,
        sliding_window=32768, use_sliding_window=False,
        vision_config={
            "model_type": "qwen2_5_vl", "depth": 32, "hidden_size": 1280,
            "intermediate_size": 3420, "out_hidden_size": 3584, "patch_size": 14,
            "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
    ),
    "falcon-7b": {
        "model_type": "falcon", "torch_dtype": "bfloat16", "hidden_size": 4544,
        "num_hidden_layers": 32, "num_attention_heads": 71, "multi_query": True,
        "vocab_size": 65024,
    },
    "mamba-2.8b": {
        "model_type": "mamba", "torch_dtype": "float32", "hidden_size": 2560,
        "num_hidden_layers": 64, "vocab_size": 50280, "state_size": 16,
    },
}  # fmt: skip


def a_model(name: str = "llama-3.1-8b", **changes: Any) -> Architecture:
    """A published model, with other keys where they are given."""
    return read_architecture({**CONFIGS[name], **changes})


def a_deployment(gpu: str = "H100", **options: Any) -> Deployment:
    """One H100 and vLLM, unless told otherwise."""
    return Deployment(find_gpu(gpu), **options)


def a_plan(name: str = "llama-3.1-8b", gpu: str = "H100", **options: Any) -> Plan:
    """The plan of a published model: its own quantization, or 16 bits."""
    if "quantization_config" not in CONFIGS[name]:
        options.setdefault("quantization", "bf16")
    (made,) = plans(a_model(name), a_deployment(gpu, **options))
    return made


def a_machine(
    name: str = "llama-3.1-8b",
    gpu: str = "H100",
    *,
    efficiency: Efficiency = ASSUMED,
    max_model_len: int = 2048,
    **options: Any,
) -> Machine:
    """A replica that runs a published model."""
    made = a_plan(name, gpu, max_model_len=max_model_len, **options)
    return machine_of(a_model(name), made, a_deployment(gpu), None, efficiency)
