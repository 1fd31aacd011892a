from typing import Any

import pytest

from tests.support.models import a_plan

REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("llama-3.1-8b", "V100", {"quantization": "fp8"}, "fp8 needs compute capability 7.5"),
    ("llama-3.1-8b", "H100", {"quantization": "eetq"}, "vLLM has no eetq"),
    ("llama-3.1-8b", "H100", {"quantization": "nf4"}, "bitsandbytes left vLLM after 0.26"),
    ("llama-3.1-8b", "T4", {"dtype": "bfloat16"}, "bfloat16 needs compute capability 8.0"),
    ("phi-2", "H100", {"max_model_len": 8192}, "8192 is more than the 2048 tokens"),
    ("qwen3-8b", "H100", {"gpu_memory_utilization": 1.0}, "use --gpu-memory-utilization 0.99"),
    ("llama-3.1-70b", "H100", {}, "the weights take 131.4 GiB per GPU, the H100 has 79.19"),
    ("qwen3-32b", "RTX-A6000", {}, "the weights take 61.0 GiB per GPU"),
    ("llama-3.1-8b", "A10G", {"max_model_len": 65536}, "use --max-model-len"),
    ("gemma-2-9b", "RTX-4090", {"max_num_seqs": 2048}, "nothing is left for the KV cache"),
]


@pytest.mark.parametrize(("name", "gpu", "options", "reason"), REFUSED)
def test_what_vllm_would_refuse_is_told_with_what_helps(
    name: str, gpu: str, options: dict[str, Any], reason: str
) -> None:
    made = a_plan(name, gpu, **options)
    assert not made.starts
    assert made.reason is not None
    assert reason in made.reason


def test_bitsandbytes_starts_where_it_still_is() -> None:
    assert a_plan(quantization="bitsandbytes", engine_version="0.26").starts


def test_bfloat16_is_no_matter_on_other_makers_gpus() -> None:
    assert a_plan(gpu="MI300X", dtype="bfloat16").starts


def test_one_token_more_than_fits_is_refused_and_the_nearest_length_starts() -> None:
    refused = a_plan("llama-3.1-8b", "A10G", max_model_len=65536)
    fits = refused.max_model_len_that_fits
    assert a_plan("llama-3.1-8b", "A10G", max_model_len=fits).starts
    assert not a_plan("llama-3.1-8b", "A10G", max_model_len=fits + 16).starts


def test_where_no_length_fits_the_plan_asks_for_more() -> None:
    made = a_plan("bamba-9b", "A10G", gpu_memory_utilization=0.85)
    assert made.max_model_len_that_fits >= 0
    tight = a_plan("llama-3.1-8b", "A10G", gpu_memory_utilization=0.745, max_num_seqs=1)
    assert tight.reason is not None
