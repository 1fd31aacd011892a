import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Outcome, run_command
from tests.support.gguf import a_gguf
from tests.support.models import CONFIGS

FIELDS = (
    "quantization", "starts", "reason", "weights_gib", "activation_gib", "overhead_gib",
    "graphs_gib", "kv_cache_gib", "kv_cache_bytes_per_token", "kv_cache_tokens",
    "max_concurrency", "max_model_len_that_fits", "flags", "sources",
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIGS["llama-3.1-8b"]))
    return path


def plan(path: Path, *options: str) -> Outcome:
    return run_command("plan", str(path), "--gpu", "H100", *options)


def data(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    found: dict[str, list[dict[str, Any]]] = json.loads(outcome.out)
    return found["plans"]


def test_data_has_every_field_of_every_plan(config: Path) -> None:
    made = data(plan(config, "--json"))
    assert [one["quantization"] for one in made] == [
        "bf16", "fp8", "int8", "awq", "gptq", "w4a16",
    ]  # fmt: skip
    for one in made:
        assert set(FIELDS) <= set(one)
        assert one["starts"] is True
        assert one["reason"] is None
        assert one["sources"][0] == f"model: {config}"


def test_a_plan_that_does_not_start_is_an_answer(config: Path) -> None:
    (made,) = data(plan(config, "-q", "bf16", "--gpu-memory-gib", "8", "--json"))
    assert made["starts"] is False
    assert "the weights take 15.0 GiB per GPU" in made["reason"]
    shown = plan(config, "-q", "bf16", "--gpu-memory-gib", "8")
    assert shown.code == 0
    assert "bf16 does not start: the weights take" in shown.out
    assert "start bf16 with" not in shown.out


def test_options_reach_the_plan(config: Path) -> None:
    options = (
        "--gpus 4 -q fp8 --kv-cache-dtype fp8 --max-model-len 8192 --max-num-seqs 128 "
        "--max-num-batched-tokens 4096 --engine vllm --engine-version 0.19 "
        "--tensor-parallel-size 2 --pipeline-parallel 2 --gpu-memory-utilization 0.8 "
        "--dtype bfloat16 --cpu-offload-gb 1 --enforce-eager --json"
    )
    (made,) = data(plan(config, *options.split()))
    assert made["flags"] == [
        "--max-model-len", "8192", "--gpu-memory-utilization", "0.8", "--max-num-seqs", "128",
        "--max-num-batched-tokens", "4096", "--tensor-parallel-size", "2",
        "--pipeline-parallel-size", "2", "--dtype", "bfloat16", "--quantization", "fp8",
        "--kv-cache-dtype", "fp8", "--cpu-offload-gb", "1", "--enforce-eager",
    ]  # fmt: skip
    assert made["engine_version"] == "0.19"
    assert made["graphs_gib"] == 0


def test_parallelism_alone_says_how_many_gpus(config: Path) -> None:
    (made,) = data(plan(config, "-q", "bf16", "--tensor-parallel", "2", "--json"))
    assert made["gpus"] == 2


def test_many_plans_are_a_table(config: Path) -> None:
    outcome = plan(config, "--max-model-len", "8192")
    assert outcome.code == 0
    assert "8.03 B parameters on H100" in outcome.out
    assert "accuracy loss" in outcome.out
    assert "start bf16 with:\n  vllm serve" in outcome.out


def test_one_plan_is_told_in_full(config: Path) -> None:
    outcome = plan(config, "-q", "fp8", "--max-model-len", "8192")
    assert "CUDA graphs" in outcome.out
    assert outcome.out.rstrip().endswith("--quantization fp8")


def test_a_gguf_file_is_planned_for_llama_cpp(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(a_gguf())
    (made,) = data(plan(path, "--json"))
    assert (made["engine"], made["quantization"]) == ("llamacpp", "q8_0")
    assert "llama-server -m" in plan(path).out


def refused(words: Sequence[str], problem: str) -> None:
    for more in ((), ("--json",)):
        outcome = run_command("plan", *words, *more)
        assert outcome.code == 2
        assert outcome.out == ""
        assert problem in outcome.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--gpu H10", 'cannot plan: GPU "H10" is not known, did you mean '),
        ("--gpu H100 -q fp7", 'quantization "fp7" is not known; known: bf16, fp8'),
        ("--gpu H100 --kv-cache-dtype fp5", 'KV cache type "fp5" is not known; known: auto'),
        ("--gpu H100 --engine-version 9", '--engine-version "9" is not known'),
        ("--gpu H100 --gpus 3", "tensor parallelism of 3 does not divide 32 heads; possible: 1, 2"),
        ("--gpu H100 --gpus 4 --tensor-parallel 3", "are 3 GPUs, --gpus says 4"),
        ("--gpu H100 --max-num-seqs 9 --max-num-batched-tokens 8", "must be at least"),
        ("--gpu H100 --engine sglang", "'sglang' is not one of"),
        ("--gpu H100 --gpu-memory-utilization 1.5", "less than or equal to 1"),
        ("", "Missing option '--gpu'"),
    ],
)
def test_wrong_input_says_what_is_possible(config: Path, options: str, problem: str) -> None:
    refused([str(config), *options.split()], problem)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "must hold a mapping"),
        (b'{"model_type": "lama"}', 'architecture "lama" is not known, did you mean llama?'),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_broken_config_is_wrong_input(config: Path, content: bytes, problem: str) -> None:
    config.write_bytes(content)
    refused([str(config), "--gpu", "H100"], problem)
