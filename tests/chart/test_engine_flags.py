"""Engines are started with the flags that `gateway plan` planned their memory for."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.deployments import planned
from gateway.config.load import read_document
from tests.chart.render import engine_args, gateway_yaml, rendered_values
from tests.support.models import CONFIGS

TGI_OPTIONS = Path(__file__).with_name("tgi_options.txt").read_text().split()
# what vLLM is told whatever the plan
ALWAYS = frozenset(
    ("--served-model-name", "--port", "--shutdown-timeout", "--enable-prompt-tokens-details")
)
# what a flag is called where it has two names
LONG = {"-c": "--ctx-size", "-np": "--parallel", "-ub": "--ubatch-size"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama-3.1-8b"]))
    return tmp_path


def started(engine: str, deploy: dict[str, Any], folder: Path) -> tuple[list[str], list[str]]:
    """The arguments that the chart gives an engine, and the flags of the plan for it."""
    variant = {"engine": engine, "quantization": "tag", "deploy": deploy}
    found = rendered_values({"models": [{"name": "config.json", "variants": [variant]}]})
    (args,) = engine_args(found).values()
    (plan,) = planned(read_document(gateway_yaml(found)), folder, {"HF_HUB_OFFLINE": "1"})
    assert plan.plan is not None, plan.problem or plan.unseen
    return args, plan.plan.flags


def pairs(flags: list[str]) -> dict[str, str]:
    """Every flag and its value; empty where it has none."""
    found: dict[str, str] = {}
    for flag, value in itertools.pairwise([*flags, "--"]):
        if flag.startswith("-") and not flag.lstrip("-").isdigit():
            found[LONG.get(flag, flag)] = "" if value.startswith("-") else value
    return found


WHOLE = {"max_model_len": 8192, "max_num_seqs": 64, "max_num_batched_tokens": 8192}
VLLM: list[dict[str, Any]] = [
    {},
    {"quantization": "fp8"},
    {"quantization": "FP8_dynamic"},
    {"quantization": "awq"},
    {"quantization": "bf16"},
    {"quantization": "fp32"},
    {"dtype": "half", "gpu_memory_utilization": 0.85},
    {"gpus": 2},
    {"gpus": 4, "tensor_parallel": 2},
    {"gpus": 4, "pipeline_parallel": 4},
    {"gpus": 8, "tensor_parallel": 4, "pipeline_parallel": 2},
    {"kv_cache_dtype": "fp8", "cpu_offload_gib": 2.5},
]
TGI: list[dict[str, Any]] = [
    {},
    {"quantization": "fp8"},
    {"quantization": "w4a16"},
    {"quantization": "gptq", "gpus": 2},
    {"dtype": "bf16", "gpu_memory_utilization": 0.5, "kv_cache_dtype": "fp8"},
]
LLAMACPP: list[dict[str, Any]] = [
    {},
    {"gpus": 2, "kv_cache_dtype": "q8_0"},
    {"max_num_batched_tokens": 1024},
]


@pytest.mark.parametrize("deploy", VLLM, ids=str)
def test_vllm_is_told_what_was_planned(deploy: dict[str, Any], folder: Path) -> None:
    utilization = {"gpu_memory_utilization": 0.9}
    given = {"gpu": "H100", **WHOLE, **utilization, **deploy}
    args, flags = started("vllm", given, folder)
    assert {k: v for k, v in pairs(args).items() if k not in ALWAYS} == pairs(flags)


@pytest.mark.parametrize("deploy", TGI, ids=str)
@pytest.mark.parametrize("lengths", [WHOLE, {}], ids=["given", "default"])
def test_tgi_is_told_what_was_planned(
    deploy: dict[str, Any], lengths: dict[str, int], folder: Path
) -> None:
    args, flags = started("tgi", {"gpu": "H100", **lengths, **deploy}, folder)
    assert pairs(args).items() >= pairs(flags).items()
    assert {one for one in args if one.startswith("--")} <= set(TGI_OPTIONS)


@pytest.mark.parametrize("deploy", LLAMACPP, ids=str)
@pytest.mark.parametrize("lengths", [{"max_model_len": 8192, "max_num_seqs": 8}, {}])
def test_llamacpp_is_told_what_was_planned(
    deploy: dict[str, Any], lengths: dict[str, int], folder: Path
) -> None:
    args, flags = started("llamacpp", {"gpu": "H100", **lengths, **deploy}, folder)
    assert pairs(args).items() >= pairs(flags).items()


def test_what_is_not_told_is_the_engines_own_default_and_so_was_the_plan(folder: Path) -> None:
    args, flags = started("vllm", {"gpu": "H100", "max_model_len": 8192}, folder)
    told = pairs(args)
    assert told.items() & pairs(flags).items() == {("--max-model-len", "8192")}


def test_adapters_and_further_options_come_last() -> None:
    further = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    deploy = {
        "lora_adapters": [{"name": "a", "source": "x/y"}, {"name": "b", "source": "/z"}],
        "max_lora_rank": 64,
        "extra_args": further,
    }
    models = [{"name": "m", "engine": "vllm", "deploy": deploy}]
    (args,) = engine_args(rendered_values({"models": models})).values()
    assert args[-10:] == [
        *("--max-loras", "2", "--max-lora-rank", "64", "--lora-modules", "a=x/y", "b=/z"),
        *further,
    ]


@pytest.mark.parametrize(
    ("deploy", "first"),
    [
        ({"model": "org/repo-GGUF:Q4_K_M"}, ["--hf-repo", "org/repo-GGUF:Q4_K_M"]),
        ({"path": "/models/m.gguf"}, ["--model", "/models/m.gguf"]),
        ({"path": "/models/m"}, ["--model", "/models/m"]),
    ],
)
def test_llamacpp_reads_a_file_or_asks_the_hub(deploy: dict[str, Any], first: list[str]) -> None:
    models = [{"name": "m", "engine": "llamacpp", "deploy": deploy}]
    (args,) = engine_args(rendered_values({"models": models})).values()
    assert args[:2] == first
