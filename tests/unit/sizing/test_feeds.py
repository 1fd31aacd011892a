from collections import Counter
from typing import Any

import pytest

from gateway.sizing.architecture import Experts, Mlp
from gateway.sizing.config_json import read_architecture
from tests.support.models import CONFIGS, Config, a_config, a_model


def feeds(config: Config) -> Counter[str]:
    return Counter(type(layer.feed).__name__ for layer in read_architecture(config).layers)


@pytest.mark.parametrize(
    ("name", "made_of"),
    [
        ("llama-3.1-8b", {"Mlp": 32}),
        ("mixtral-8x7b", {"Experts": 32}),
        ("deepseek-v3", {"Mlp": 3, "Experts": 58}),
        ("jamba-mini", {"Mlp": 16, "Experts": 16}),
        ("nemotron-h-8b", {"Mlp": 24, "NoneType": 28}),
        ("mamba-2.8b", {"NoneType": 64}),
        ("llama-4-scout", {"Experts": 48}),
    ],
)
def test_layers_are_dense_or_mixtures_as_the_model_says(name: str, made_of: dict[str, int]) -> None:
    assert feeds(CONFIGS[name]) == made_of


def experts_of(name: str, **changes: Any) -> Experts:
    found = a_model(name, **changes).layers[-1].feed
    assert isinstance(found, Experts)
    return found


def test_experts_that_every_token_passes_are_counted_by_width_or_number() -> None:
    assert experts_of("qwen1.5-moe-a2.7b").shared == 5632
    assert experts_of("deepseek-v2-lite").shared == 2 * 1408
    assert experts_of("mixtral-8x7b").shared == 0
    scout = a_model("llama-4-scout").layers[0].feed
    assert isinstance(scout, Experts)
    assert (scout.count, scout.active, scout.shared) == (16, 1, 8192)


def test_some_layers_stay_dense() -> None:
    sparse = {**CONFIGS["qwen3-30b-a3b"], "mlp_only_layers": [0], "decoder_sparse_step": 2}
    assert feeds(sparse) == {"Mlp": 24, "Experts": 24}
    maverick = {**CONFIGS["llama-4-scout"]["text_config"], "interleave_moe_layer_step": 2}
    assert feeds(maverick) == {"Mlp": 24, "Experts": 24}
    assert feeds({**maverick, "moe_layers": [1, 2, 3]}) == {"Mlp": 45, "Experts": 3}


def test_a_width_that_is_not_named_is_four_times_the_hidden_size() -> None:
    assert a_model("falcon-7b").layers[0].feed == Mlp(4 * 4544, is_gated=False)
    moe_only = {k: v for k, v in CONFIGS["qwen3-30b-a3b"].items() if k != "intermediate_size"}
    assert feeds({**moe_only, "mlp_only_layers": [0]}) == {"Mlp": 1, "Experts": 47}


def test_a_plain_family_has_no_gate() -> None:
    assert a_model("phi-2").layers[0].feed == Mlp(10240, is_gated=False)


def test_dbrx_describes_its_experts_in_a_part_of_their_own() -> None:
    dbrx = a_config(
        "dbrx", 6144, 2, 48, 8, vocab_size=100352, max_seq_len=32768,
        ffn_config={"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
    )  # fmt: skip
    assert read_architecture(dbrx).layers[0].feed == Experts(16, 4, 10752)


def test_lfm_2_trims_its_width() -> None:
    lfm = a_config(
        "lfm2", 1024, 2, 16, 8, vocab_size=65536, intermediate_size=6656, full_attn_idxs=[1],
        block_auto_adjust_ff_dim=True, max_position_embeddings=128000,
    )  # fmt: skip
    assert read_architecture(lfm).layers[0].feed == Mlp(4608)


def test_nemotrons_experts_may_work_in_a_smaller_space() -> None:
    config = {
        **CONFIGS["nemotron-h-8b"], "num_hidden_layers": 3, "hybrid_override_pattern": "ME*",
        "n_routed_experts": 512, "num_experts_per_tok": 22, "moe_intermediate_size": 2688,
        "moe_latent_size": 1024, "moe_shared_expert_intermediate_size": 5376,
    }  # fmt: skip
    feed = read_architecture(config).layers[1].feed
    assert feed == Experts(512, 22, 2688, shared=5376, is_gated=False, width=1024)


def test_zambas_attention_has_a_feed_of_its_own() -> None:
    config = a_config(
        "zamba2", 2560, 2, 32, 32, vocab_size=32000, n_mamba_heads=80,
        layers_block_type=["mamba", "hybrid"], max_position_embeddings=4096,
    )  # fmt: skip
    assert [layer.feed for layer in read_architecture(config).layers] == [None, Mlp(10240)]
    del config["layers_block_type"]
    assert feeds(config) == {"NoneType": 2}
