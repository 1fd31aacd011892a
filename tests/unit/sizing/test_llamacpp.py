from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.deployment import Engine
from gateway.sizing.gpus import Gpu
from gateway.sizing.plan import Plan
from gateway.sizing.planner import plans
from tests.support.models import a_deployment, a_model


def llamacpp(name: str = "llama-3.1-8b", gpu: str = "RTX-4090", **options: Any) -> Plan:
    options.setdefault("quantization", "q4_k_m")
    (made,) = plans(a_model(name), a_deployment(gpu, engine=Engine.LLAMACPP, **options))
    return made


def test_the_cache_is_laid_out_for_every_slot() -> None:
    made = llamacpp(max_model_len=8192, max_num_seqs=4)
    assert made.starts
    assert made.kv_cache_gib == pytest.approx(4 * 8192 * 131072 / 2**30)
    assert made.flags == ["-ngl", "99", "-c", "32768", "-np", "4", "-ub", "512"]


@pytest.mark.parametrize(
    ("kind", "gib"), [("f16", 14.96), ("q8_0", 7.95), ("q4_k_m", 4.58), ("q4_0", 4.34)]
)
def test_weights_are_those_of_the_table_less_the_embedding(kind: str, gib: float) -> None:
    made = llamacpp(quantization=kind)
    embedding = gib * 128256 * 4096 / 8.03e9
    assert made.weights_gib == pytest.approx(gib - embedding, rel=0.02)


def test_a_tied_embedding_is_needed_on_the_gpu() -> None:
    assert llamacpp("gemma-2-2b").weights_gib == pytest.approx(2.614 * 4.89 / 8 / 1.0737, rel=0.02)


def test_a_narrow_cache_needs_flash_attention() -> None:
    made = llamacpp(kv_cache_dtype="q8_0")
    assert made.kv_cache_bytes_per_token == int(131072 * 8.5 / 16)
    assert made.flags[-6:] == ["-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on"]
    with pytest.raises(PlanInvalid, match='"fp8" is not known; known: f32, f16'):
        llamacpp(kv_cache_dtype="fp8")


def test_windows_and_states_keep_less() -> None:
    whole, window = llamacpp(max_model_len=32768), llamacpp("gemma-3-4b", max_model_len=32768)
    assert window.kv_cache_gib < window.kv_cache_bytes_per_token * 32768 * 4 / 2**30 / 3
    assert whole.kv_cache_gib == pytest.approx(16)
    assert llamacpp("mamba-2.8b").kv_cache_bytes_per_token == 0


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("phi-2", {"max_model_len": 4096}, "more than the 2048 the model was made for"),
        ("llama-3.1-70b", {}, "the weights take"),
        ("llama-3.1-8b", {"max_model_len": 131072}, "slots of 131072 tokens need 64.00 GiB"),
    ],
)
def test_what_does_not_fit_is_told(name: str, options: dict[str, Any], reason: str) -> None:
    made = llamacpp(name, **options)
    assert not made.starts
    assert reason in (made.reason or "")


def test_layers_are_spread_over_gpus() -> None:
    made = llamacpp("llama-3.1-70b", gpus=3, quantization="q4_k_m")
    assert made.starts
    assert made.flags[-2:] == ["--split-mode", "layer"]
    with pytest.raises(PlanInvalid, match="use --gpus without tensor parallel"):
        llamacpp(gpus=2, tensor_parallel=2)
    with pytest.raises(PlanInvalid, match="64 GPUs, but the model has 32 layers"):
        llamacpp(gpus=64)


def test_offloaded_weights_make_room() -> None:
    assert llamacpp("llama-3.1-70b", cpu_offload_gib=30).starts


def test_a_model_that_keeps_nothing_serves_its_slots() -> None:
    model = a_model("nemotron-h-8b", num_hidden_layers=2, hybrid_override_pattern="--")
    unknown = Gpu("X", 24, 0, (9, 0), 0, 132, False)
    wanted = type(a_deployment())(unknown, engine=Engine.LLAMACPP, quantization="q8_0")
    (made,) = plans(model, wanted)
    assert made.max_concurrency == 4
    assert made.decode_tokens_per_second_ceiling is None
