from tests.support.models import a_plan


def test_what_was_planned_with_is_pinned() -> None:
    assert a_plan(max_model_len=8192).flags == [
        "--max-model-len", "8192", "--gpu-memory-utilization", "0.92",
        "--max-num-seqs", "1024", "--max-num-batched-tokens", "8192",
    ]  # fmt: skip


def test_every_option_has_its_flag() -> None:
    made = a_plan(
        quantization="fp8", gpus=4, tensor_parallel=2, kv_cache_dtype="fp8", cpu_offload_gib=1.5,
        is_eager=True, dtype="float16",
    )  # fmt: skip
    assert " ".join(made.flags[8:]) == (
        "--tensor-parallel-size 2 --pipeline-parallel-size 2 --dtype float16 --quantization fp8 "
        "--kv-cache-dtype fp8 --cpu-offload-gb 1.5 --enforce-eager"
    )


def test_a_quantized_checkpoint_needs_no_flag() -> None:
    assert "--quantization" not in a_plan("gpt-oss-20b").flags
    assert "--quantization" not in a_plan(quantization="awq").flags


def test_float32_is_a_dtype() -> None:
    assert a_plan(quantization="fp32").flags[-2:] == ["--dtype", "float32"]
