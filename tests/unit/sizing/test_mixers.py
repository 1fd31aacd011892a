from collections import Counter
from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Attention, LatentAttention, State
from gateway.sizing.config_json import read_architecture
from tests.support.models import CONFIGS, Config, a_config, a_model


def windows(model_name: str, **changes: Any) -> Counter[int | None]:
    mixers = a_model(model_name, **changes).mixers
    return Counter(mixer.window for mixer in mixers if isinstance(mixer, Attention))


def kinds(config: Config) -> Counter[str]:
    return Counter(type(mixer).__name__ for mixer in read_architecture(config).mixers)


@pytest.mark.parametrize(
    ("name", "slides"),
    [
        ("llama-3.1-8b", {None: 32}),
        ("mistral-7b-v0.1", {4096: 32}),
        ("mistral-7b-v0.3", {None: 32}),
        ("qwen2.5-7b", {None: 28}),
        ("gemma-2-9b", {4096: 21, None: 21}),
        ("gemma-3-27b", {1024: 52, None: 10}),
        ("gemma-3-4b", {1024: 29, None: 5}),
        ("gpt-oss-20b", {128: 12, None: 12}),
    ],
)
def test_each_layer_sees_as_far_as_its_model_says(name: str, slides: dict[Any, int]) -> None:
    assert windows(name) == slides


def test_qwen_slides_from_a_layer_on_when_it_slides() -> None:
    changes = {"use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 20}
    assert windows("qwen2.5-7b", **changes) == {None: 20, 4096: 8}


def test_a_window_that_nobody_uses_is_none() -> None:
    assert windows("llama-3.1-8b", sliding_window=4096) == {None: 32}


def test_a_pattern_may_be_written_in_letters() -> None:
    assert windows(
        "llama-3.1-8b", model_type="exaone4", sliding_window=512, sliding_window_pattern="LLLG"
    ) == {512: 24, None: 8}


def test_without_a_list_gpt_oss_alternates() -> None:
    config = {k: v for k, v in CONFIGS["gpt-oss-20b"].items() if k != "layer_types"}
    mixers = read_architecture(config).mixers
    assert [getattr(mixer, "window", 0) for mixer in mixers[:2]] == [128, None]


def test_llama_4_attends_in_chunks_where_it_rotates() -> None:
    mixers = a_model("llama-4-scout").mixers
    assert Counter(getattr(mixer, "chunk", 0) for mixer in mixers) == {8192: 36, None: 12}
    text = {**CONFIGS["llama-4-scout"]["text_config"], "no_rope_layers": []}
    assert [getattr(m, "chunk", 0) for m in read_architecture(text).mixers[:4]] == [
        8192, 8192, 8192, None,
    ]  # fmt: skip
    with pytest.raises(PlanInvalid, match="no_rope_layers"):
        read_architecture({**text, "no_rope_layers": [1]})


@pytest.mark.parametrize(
    ("name", "made_of"),
    [
        ("nemotron-h-8b", {"State": 24, "Attention": 4}),
        ("bamba-9b", {"State": 29, "Attention": 3}),
        ("jamba-mini", {"State": 28, "Attention": 4}),
        ("qwen3-next-80b", {"State": 36, "Attention": 12}),
        ("mamba-2.8b", {"State": 64}),
        ("deepseek-v3", {"LatentAttention": 61}),
    ],
)
def test_hybrids_are_told_layer_by_layer(name: str, made_of: dict[str, int]) -> None:
    assert kinds(CONFIGS[name]) == made_of


def test_layer_types_name_what_mixes() -> None:
    granite = a_config(
        "granitemoehybrid", 1536, 4, 12, 4, vocab_size=49160, intermediate_size=512,
        layer_types=["mamba", "mamba", "attention", "mamba"], mamba_n_heads=48, mamba_d_state=128,
        max_position_embeddings=131072,
    )  # fmt: skip
    assert kinds(granite) == {"State": 3, "Attention": 1}
    lfm = a_config(
        "lfm2", 1024, 4, 16, 8, vocab_size=65536, intermediate_size=6656, full_attn_idxs=[2],
        max_position_embeddings=128000,
    )  # fmt: skip
    assert kinds(lfm) == {"State": 3, "Attention": 1}
    assert kinds({**lfm, "layer_types": ["conv", "full_attention"] * 2}) == {
        "State": 2, "Attention": 2,
    }  # fmt: skip


def test_nemotron_may_list_its_blocks_in_words() -> None:
    config = {**CONFIGS["nemotron-h-8b"], "num_hidden_layers": 4}
    del config["hybrid_override_pattern"]
    listed = {**config, "layers_block_type": ["mamba", "mlp", "attention", "mlp"]}
    assert kinds(listed) == {"State": 1, "Attention": 1}
    with pytest.raises(PlanInvalid, match="hybrid_override_pattern"):
        read_architecture({**config, "hybrid_override_pattern": "M-X-"})


def test_falcon_h1_mixes_twice_in_every_layer() -> None:
    config = a_config(
        "falcon_h1", 1024, 3, 8, 2, vocab_size=32784, intermediate_size=2048, mamba_d_ssm=1536,
        mamba_n_heads=24, mamba_d_head=64, mamba_d_state=128, max_position_embeddings=4096,
    )  # fmt: skip
    assert kinds(config) == {"State": 3, "Attention": 3}


def test_zamba_shares_attention_in_some_layers() -> None:
    config = a_config(
        "zamba2", 2560, 3, 32, 32, vocab_size=32000, n_mamba_heads=80,
        layers_block_type=["mamba", "hybrid", "mamba"], max_position_embeddings=4096,
    )  # fmt: skip
    assert kinds(config) == {"State": 3, "Attention": 1}
    del config["layers_block_type"]
    assert kinds(config) == {"State": 3}


def test_kimi_linear_has_latent_and_delta_attention() -> None:
    config = a_config(
        "kimi_linear", 2304, 4, 32, 32, vocab_size=163840, intermediate_size=9216,
        linear_attn_config={"full_attn_layers": [4], "num_heads": 32, "head_dim": 128},
        max_position_embeddings=1048576,
    )  # fmt: skip
    assert kinds(config) == {"State": 3, "LatentAttention": 1}


def test_one_head_of_keys_serves_all_in_multi_query_attention() -> None:
    falcon = a_model("falcon-7b").mixers[0]
    assert isinstance(falcon, Attention)
    assert (falcon.heads, falcon.kv_heads, falcon.head_dim) == (71, 1, 64)
    dbrx = a_config(
        "dbrx", 6144, 2, 48, 48, vocab_size=100352, attn_config={"kv_n_heads": 8},
        ffn_config={"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
        max_seq_len=32768,
    )  # fmt: skip
    del dbrx["num_key_value_heads"]
    (grouped, _) = read_architecture(dbrx).mixers
    assert isinstance(grouped, Attention)
    assert grouped.kv_heads == 8


def test_layers_that_see_everything_may_have_other_heads() -> None:
    gemma = a_config(
        "gemma4_text", 2304, 6, 8, 4, intermediate_size=9216, head_dim=256, global_head_dim=512,
        num_global_key_value_heads=2, max_position_embeddings=131072,
    )  # fmt: skip
    sliding, *_, full = read_architecture(gemma).mixers
    assert isinstance(sliding, Attention)
    assert isinstance(full, Attention)
    assert (sliding.kv_heads, sliding.head_dim) == (4, 256)
    assert (full.kv_heads, full.head_dim) == (2, 512)


def test_the_last_layers_of_gemma_3n_read_the_cache_of_others() -> None:
    gemma = a_config("gemma3n_text", 2048, 30, 8, 2, intermediate_size=16384)
    shared = [getattr(m, "shares_cache", False) for m in read_architecture(gemma).mixers]
    assert shared == [False] * 15 + [True] * 15


def test_sparse_attention_has_an_indexer() -> None:
    latent = a_model("deepseek-v3", model_type="deepseek_v32", index_topk=2048).mixers[0]
    assert isinstance(latent, LatentAttention)
    assert (latent.index_heads, latent.index_dim) == (64, 128)


def test_a_state_is_no_attention() -> None:
    assert isinstance(a_model("mamba-2.8b").mixers[0], State)
