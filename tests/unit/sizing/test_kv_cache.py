from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sizing.architecture import Architecture, State
from gateway.sizing.kv_cache import (
    CacheOptions,
    Layout,
    layout,
    stage_block_bytes,
    state_bytes,
    token_bytes,
)
from tests.support.models import a_model


def cut(model: Architecture, **options: Any) -> Layout:
    found = layout(model, CacheOptions(**options))
    assert found is not None
    return found


def all_layers(name: str, **options: Any) -> float:
    return sum(token_bytes(mixer, CacheOptions(**options)) for mixer in a_model(name).mixers)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("llama-3.1-8b", 131_072),
        ("llama-3.1-70b", 327_680),
        ("qwen2.5-7b", 57_344),
        ("qwen3-30b-a3b", 98_304),
        ("deepseek-v3", 70_272),
        ("gemma-3-27b", 507_904),
        ("gemma-2-9b", 344_064),
        ("phi-3.5-mini", 393_216),
        ("gpt-oss-120b", 73_728),
        ("mamba-2.8b", 0),
    ],
)
def test_a_token_takes_what_is_published(name: str, size: int) -> None:
    assert all_layers(name) == size


def test_tensor_parallelism_divides_heads_until_there_is_one() -> None:
    assert all_layers("llama-3.1-8b", tensor_parallel=8) == 131_072 / 8
    assert all_layers("llama-3.1-8b", tensor_parallel=16) == 131_072 / 8


def test_a_latent_is_not_divided() -> None:
    assert all_layers("deepseek-v3", tensor_parallel=8) == 70_272
    assert all_layers("deepseek-v3", element_bytes=1) == 35_136
    assert all_layers("deepseek-v3", is_packed_latent=True) == 656 * 61


def test_a_sparse_indexer_keeps_a_key_and_a_scale() -> None:
    sparse = a_model("deepseek-v3", model_type="deepseek_v32", index_topk=2048)
    assert token_bytes(sparse.mixers[0], CacheOptions(is_packed_latent=True)) == 656 + 132


def test_scales_are_beside_every_head() -> None:
    wide = all_layers("llama-3.1-8b", element_bytes=1, scale_bytes=4)
    assert wide == 32 * 8 * (256 + 8)


def test_layers_of_one_kind_are_one_group() -> None:
    found = cut(a_model())
    assert len(found.groups) == 1
    assert found.block_bytes == 16 * 131_072
    assert found.blocks(8192) == 512


@pytest.mark.parametrize(
    ("name", "groups", "slots", "layers"),
    [("gemma-3-27b", 7, 70, 62), ("gemma-3-4b", 7, 35, 34), ("gemma-3-12b", 6, 48, 48)],
)
def test_hybrids_are_padded_to_groups_of_one_size(
    name: str, groups: int, slots: int, layers: int
) -> None:
    found = cut(a_model(name))
    size = found.block_bytes // found.groups[0].page_bytes
    assert len(found.groups) == groups
    assert size * groups == slots
    assert sum(group.layers for group in found.groups) == layers


def test_few_more_of_a_kind_make_the_group_larger_not_more() -> None:
    kinds = ["full_attention"] * 13 + ["sliding_attention"] * 11
    found = cut(a_model("gpt-oss-20b", layer_types=kinds))
    assert [group.layers for group in found.groups] == [13, 11]


def test_a_window_keeps_itself_and_what_is_in_flight() -> None:
    found = cut(a_model("mistral-7b-v0.1"), in_flight_tokens=2048)
    assert found.blocks(32768) == (4095 + 2048 + 15) // 16 + 1
    assert found.blocks(1024) == 64 + 1


def test_a_chunk_keeps_itself_and_what_is_in_flight() -> None:
    found = cut(a_model("llama-4-scout"), in_flight_tokens=2048)
    chunked = [group for group in found.groups if getattr(group.mixer, "chunk", None)]
    assert {group.blocks(10**6, found.options) for group in chunked} == {(8192 + 2048) // 16}


def test_the_block_of_a_hybrid_is_as_large_as_its_state() -> None:
    model = a_model("nemotron-h-8b")
    found = cut(model)
    state = next(mixer for mixer in model.mixers if isinstance(mixer, State))
    page = found.groups[0].page_bytes
    assert page >= state_bytes(state, found.options) > page - 16 * 4096
    assert found.block_tokens % 16 == 0
    assert {group.page_bytes for group in found.groups} == {page}


def test_a_state_is_one_block_or_two_with_cached_prefixes() -> None:
    model = a_model("mamba-2.8b")
    assert cut(model).blocks(10**6) == 1
    assert cut(model, state_blocks=2).blocks(10) == 2
    assert cut(model).groups[0].page_bytes == state_bytes(_state(model), CacheOptions())


def _state(model: Architecture) -> State:
    return next(mixer for mixer in model.mixers if isinstance(mixer, State))


def test_a_state_is_divided_and_its_groups_are_copied() -> None:
    bamba = _state(a_model("bamba-9b"))
    one, many = (state_bytes(bamba, CacheOptions(tensor_parallel=n)) for n in (1, 8))
    assert one == (8192 + 256) * 3 * 2 + 128 * 64 * 128 * 2
    assert many == (8192 + 256 * 8) // 8 * 3 * 2 + 128 * 64 * 128 * 2 // 8


def test_a_layer_with_smaller_tokens_has_more_of_them_in_a_block() -> None:
    gemma = a_model(
        "gemma-2-9b", model_type="gemma4_text", global_head_dim=512, sliding_window_pattern=6
    )
    found = cut(gemma)
    assert {group.block_tokens for group in found.groups} == {16, 32}
    assert found.block_tokens == 16


def test_layers_that_share_a_cache_take_none() -> None:
    whole, shared = cut(a_model()), cut(a_model(num_kv_shared_layers=16))
    assert shared.block_bytes == whole.block_bytes / 2


def test_a_model_that_keeps_nothing_has_no_layout() -> None:
    model = a_model("nemotron-h-8b", num_hidden_layers=2, hybrid_override_pattern="--")
    assert layout(model, CacheOptions()) is None


def test_a_stage_holds_its_layers_of_every_group() -> None:
    model = a_model()
    found = cut(model)
    assert stage_block_bytes(model, found, (0, 16)) == found.block_bytes / 2
    assert stage_block_bytes(model, found, (0, 0)) == 0
    mixed = a_model("gemma-3-12b")
    found = cut(mixed)
    assert stage_block_bytes(mixed, found, (0, 24)) == found.block_bytes / 2
    lone = a_model("nemotron-h-8b")
    assert stage_block_bytes(lone, cut(lone), (0, 52)) == cut(lone).block_bytes


@given(st.integers(0, 5000), st.sampled_from(["llama-3.1-8b", "gemma-3-12b", "bamba-9b"]))
def test_the_longest_length_fits_and_one_more_does_not(blocks: int, name: str) -> None:
    found = cut(a_model(name))
    length = found.longest(blocks, 131072)
    assert length == 0 or found.blocks(length) <= blocks
    assert length == 131072 or found.blocks(length + 1) > blocks
