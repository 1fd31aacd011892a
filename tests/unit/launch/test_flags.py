from typing import Any

import pytest

from gateway.config.deploy import Deploy
from gateway.launch.flags import given_flags


def flags(engine: str, **deploy: Any) -> str:
    return " ".join(given_flags(engine, Deploy.model_validate(deploy)))


@pytest.mark.parametrize("engine", ["vllm", "tgi", "llamacpp", "openai"])
def test_what_is_not_given_is_left_to_the_engine(engine: str) -> None:
    assert flags(engine) == ""


def test_vllm() -> None:
    said = flags(
        "vllm",
        max_model_len=1024,
        max_num_seqs=8,
        max_num_batched_tokens=2048,
        gpu_memory_utilization=0.5,
        dtype="float32",
        kv_cache_dtype="fp8",
        quantization="fp8",
        cpu_offload_gib=4,
        gpus=4,
        pipeline_parallel=2,
    )
    assert said == (
        "--max-model-len 1024 --gpu-memory-utilization 0.5 --max-num-seqs 8 "
        "--max-num-batched-tokens 2048 --tensor-parallel-size 2 --pipeline-parallel-size 2 "
        "--dtype float32 --quantization fp8 --kv-cache-dtype fp8 --cpu-offload-gb 4"
    )


def test_files_that_are_quantized_already_are_not_quantized_again() -> None:
    assert flags("vllm", quantization="checkpoint") == ""
    assert flags("vllm", quantization="awq") == ""
    assert flags("tgi", quantization="checkpoint") == ""


def test_tgi() -> None:
    said = flags("tgi", max_model_len=4096, gpus=2, quantization="awq", max_num_seqs=4)
    assert said == (
        "--max-total-tokens 4096 --max-input-tokens 4095 --max-concurrent-requests 4 "
        "--num-shard 2 --quantize awq"
    )


def test_llamacpp_lays_a_context_out_for_each_of_its_slots() -> None:
    assert flags("llamacpp", max_model_len=4096, max_num_seqs=2) == "-c 8192 -np 2"
    assert flags("llamacpp", max_model_len=4096) == "-c 4096 -np 1"
    assert flags("llamacpp", max_num_seqs=2) == "-np 2"


def test_llamacpp_on_a_gpu() -> None:
    said = flags("llamacpp", gpu="L4", kv_cache_dtype="q8_0")
    assert said == "-ngl 99 -ctk q8_0 -ctv q8_0 -fa on"
