from typing import Any

import pytest

from gateway.sizing.activation import (
    WORKSPACE_BYTES,
    Batch,
    encoder_bytes,
    expert_bytes,
    forward_bytes,
    logit_bytes,
    peak_bytes,
    runner_bytes,
)
from gateway.sizing.gpus import find_gpu
from gateway.sizing.units import GIB
from gateway.sizing.versions import read_version
from tests.support.models import a_model


def batch(**options: Any) -> Batch:
    return Batch(**{"tokens": 8192, "sequences": 1024, "length": 8192, **options})


def peak(name: str, version: str = "0.19", gpu: str = "H100", **options: Any) -> float:
    own = {key: options.pop(key) for key in ("quantization", "is_last") if key in options}
    found = peak_bytes(a_model(name), read_version(version), find_gpu(gpu), batch(**options), **own)
    return found / GIB


@pytest.mark.parametrize(
    ("name", "version", "measured"),
    [
        ("llama-3.1-8b", "0.19", 1.89),
        ("phi-4", "0.19", 1.52),
        ("gemma-2-27b", "0.19", 3.66),
        ("granite-3.1-8b", "0.19", 0.85),
        ("codellama-7b", "0.19", 0.77),
        ("qwen3-30b-a3b", "0.19", 2.68),
        ("qwen1.5-moe-a2.7b", "0.19", 2.47),
        # published peaks of other versions
        ("llama-3.1-8b", "0.16", 4.76),
        ("qwen3-14b", "0.16", 5.64),
        ("qwen3-14b", "0.17", 2.23),
    ],
)
def test_the_peak_is_what_was_measured(name: str, version: str, measured: float) -> None:
    assert peak(name, version) == pytest.approx(measured, abs=0.02)


def test_fused_kernels_keep_no_buffers_for_experts() -> None:
    fused = peak("gpt-oss-20b", "0.16", quantization="mxfp4")
    assert fused == pytest.approx(7.38, abs=0.01)
    assert peak("gpt-oss-20b", "0.16", gpu="A100", quantization="mxfp4") > fused + 0.5


def test_before_0_15_the_buffers_of_experts_came_and_went() -> None:
    assert peak("qwen3-30b-a3b", "0.15") - peak("qwen3-30b-a3b", "0.14") == pytest.approx(0.5)


def test_only_the_last_stage_samples() -> None:
    first = peak("llama-3.1-8b", is_last=False, pipeline_parallel=2)
    assert first == pytest.approx(1.05, abs=0.06)
    assert peak("llama-3.1-8b", pipeline_parallel=2) == pytest.approx(1.89, abs=0.01)


def test_fewer_sequences_take_less() -> None:
    assert peak("llama-3.1-8b") - peak("llama-3.1-8b", sequences=256) > 0.9
    assert batch(tokens=100).rows == 100


def test_flashinfer_samples_without_a_buffer_for_each_processor() -> None:
    assert peak("llama-3.1-8b", "0.20") - peak("llama-3.1-8b", "0.21") == pytest.approx(
        132 * 128256 * 4 / GIB
    )
    assert peak("llama-3.1-8b", "0.21", gpu="V100") > peak("llama-3.1-8b", "0.21")


@pytest.mark.parametrize(
    ("version", "size"), [("0.16", 38), ("0.19", 14), ("0.24", 6), ("0.28", 2), ("0.33", 14)]
)
def test_a_logit_takes_what_its_version_copies(version: str, size: float) -> None:
    assert logit_bytes(a_model(), read_version(version)) == size


def test_float32_logits_are_not_copied() -> None:
    assert logit_bytes(a_model(), read_version("0.19"), 4) == 12


def test_the_second_runner_keeps_counts_for_penalties() -> None:
    counts = 1024 * 128256 * 4.125
    assert runner_bytes(a_model(), read_version("0.33"), 1024) == counts
    assert runner_bytes(a_model(), read_version("0.19"), 1024) == 0
    assert runner_bytes(a_model(), read_version("0.26"), 1024) == 0


def test_experts_work_in_two_buffers() -> None:
    assert expert_bytes(a_model("qwen3-30b-a3b"), batch()) == 8192 * 8 * (2048 + 2048) * 2
    assert expert_bytes(a_model("mixtral-8x7b"), batch()) == 8192 * 2 * (14336 + 2 * 14336) * 2
    assert expert_bytes(a_model(), batch()) == 0
    plain = a_model(
        "nemotron-h-8b", num_hidden_layers=2, hybrid_override_pattern="ME", n_routed_experts=8,
        num_experts_per_tok=2, moe_intermediate_size=4096, moe_latent_size=1024,
    )  # fmt: skip
    assert expert_bytes(plain, batch()) == 8192 * 2 * (4096 + 4096) * 2


def test_the_widest_layer_decides_the_forward_pass() -> None:
    halves = [forward_bytes(a_model(), batch(tensor_parallel=n)) for n in (1, 2)]
    assert halves[0] - halves[1] == pytest.approx(8192 * 2 * 3 * 14336 / 2)
    latent = forward_bytes(a_model("deepseek-v3"), batch(length=163840))
    assert latent > 65536 * 128 * 256 * 2
    attention = a_model("qwen3-next-80b")
    assert forward_bytes(attention, batch()) > 8192 * 2 * 3 * 16 * 256
    assert forward_bytes(a_model("mamba-2.8b"), batch()) > 0
    shared = forward_bytes(a_model("qwen1.5-moe-a2.7b"), batch())
    assert shared == 8192 * (3 * 5632 + 3.45 * 2048) * 2


def test_an_encoder_runs_as_many_items_as_fit() -> None:
    inside, outputs = encoder_bytes(a_model("gemma-3-27b"), batch())
    assert outputs == 32 * 256 * 5376 * 2
    assert inside > outputs
    assert encoder_bytes(a_model(), batch()) == (0, 0)
    _, one = encoder_bytes(a_model("qwen2.5-vl-7b"), batch())
    assert one == 16384 * 3584 * 2


def test_a_large_encoder_can_be_the_peak() -> None:
    alone = peak("qwen2.5-vl-7b", sequences=1)
    inside, _ = encoder_bytes(a_model("qwen2.5-vl-7b"), batch(sequences=1))
    assert alone * GIB == inside + WORKSPACE_BYTES
