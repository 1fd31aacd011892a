from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.deployment import Engine
from gateway.sizing.gpus import Gpu
from gateway.sizing.plan import Plan
from gateway.sizing.planner import plans
from tests.support.models import a_deployment, a_model, a_plan


def tgi(name: str = "llama-3.1-8b", gpu: str = "H100", **options: Any) -> Plan:
    return a_plan(name, gpu, engine=Engine.TGI, **options)


def test_nine_tenths_of_what_is_free_become_cache() -> None:
    made = tgi()
    free = 79.19 - 0.3 - made.weights_gib - made.activation_gib - made.overhead_gib
    assert made.kv_cache_gib == pytest.approx(0.9 * free, abs=0.01)
    assert made.starts
    half = tgi(gpu_memory_utilization=0.5)
    assert half.kv_cache_gib == pytest.approx(made.kv_cache_gib / 2)


def test_its_flags_are_its_own() -> None:
    made = tgi(
        quantization="fp8", gpus=2, max_model_len=8192, kv_cache_dtype="fp8", dtype="float16",
        gpu_memory_utilization=0.9,
    )  # fmt: skip
    assert " ".join(made.flags) == (
        "--max-total-tokens 8192 --max-input-tokens 8191 --max-batch-prefill-tokens 8192 "
        "--max-concurrent-requests 128 --num-shard 2 --quantize fp8 --kv-cache-dtype fp8_e4m3fn "
        "--dtype float16 --cuda-memory-fraction 0.9"
    )


@pytest.mark.parametrize(
    ("name", "gpu", "options", "reason"),
    [
        ("llama-3.1-8b", "V100", {"quantization": "fp8"}, "needs compute capability 7.5"),
        ("llama-3.1-8b", "H100", {"quantization": "int8"}, "TGI has no int8"),
        ("phi-2", "H100", {"max_model_len": 4096}, "more than the 2048"),
        ("llama-3.1-70b", "H100", {}, "the KV cache holds 0 tokens, one request may have 4096"),
    ],
)
def test_what_it_would_refuse_is_told(
    name: str, gpu: str, options: dict[str, Any], reason: str
) -> None:
    made = tgi(name, gpu, **options)
    assert not made.starts
    assert reason in (made.reason or "")


def test_what_it_cannot_do_is_wrong_input() -> None:
    with pytest.raises(PlanInvalid, match="TGI does not plan memory for states"):
        tgi("bamba-9b")
    with pytest.raises(PlanInvalid, match="TGI has no pipeline parallelism"):
        tgi(gpus=2, pipeline_parallel=2)


def test_a_gpu_without_a_bandwidth_has_no_ceiling() -> None:
    unknown = Gpu("X", 80, 0, (9, 0), 0, 132, False)
    wanted = a_deployment(engine=Engine.TGI, quantization="bf16")
    (made,) = plans(a_model(), type(wanted)(unknown, engine=Engine.TGI, quantization="bf16"))
    assert made.decode_tokens_per_second_ceiling is None
