import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import PlanInvalid
from gateway.sizing.config_json import read_architecture
from gateway.sizing.deployment import Engine
from gateway.sizing.gpus import find_gpu
from gateway.sizing.names import find_gguf
from gateway.sizing.plan import Weighed
from gateway.sizing.planner import plans
from tests.support.models import CONFIGS, Config, a_deployment, a_model


def names(model: str = "llama-3.1-8b", gpu: str = "H100", **options: Any) -> list[str]:
    return [one.quantization for one in plans(a_model(model), a_deployment(gpu, **options))]


def test_without_a_name_there_is_a_plan_for_all_that_the_gpu_supports() -> None:
    assert names() == ["bf16", "fp8", "int8", "awq", "gptq", "w4a16"]
    assert names(gpu="V100") == ["bf16", "gptq"]
    assert names(gpu="B200") == ["bf16", "fp8", "awq", "gptq", "w4a16", "nvfp4"]
    assert "bitsandbytes" in names(engine_version="0.26")
    assert "mxfp4" in names("mixtral-8x7b", gpus=2)
    assert names(engine=Engine.TGI) == [
        "bf16",
        "fp8",
        "awq",
        "gptq",
        "w4a16",
        "bitsandbytes",
        "eetq",
    ]
    assert names(engine=Engine.LLAMACPP)[:2] == ["f16", "q8_0"]


def test_a_quantized_checkpoint_is_only_what_it_is() -> None:
    assert names("gpt-oss-20b") == ["mxfp4"]
    assert names("gpt-oss-20b", quantization="mxfp4") == ["mxfp4"]
    with pytest.raises(PlanInvalid, match="is quantized already, as mxfp4: leave out"):
        names("gpt-oss-20b", quantization="fp8")


def test_compressed_tensors_are_what_the_checkpoint_holds() -> None:
    assert names("gpt-oss-20b", quantization="compressed-tensors") == ["mxfp4"]
    with pytest.raises(PlanInvalid, match="name what it would hold"):
        names(quantization="compressed-tensors")


def test_a_gguf_file_is_only_what_it_is() -> None:
    q8 = find_gguf("q8_0")
    wanted = a_deployment(engine=Engine.LLAMACPP)
    assert plans(a_model(), wanted, gguf=q8)[0].quantization == "q8_0"
    (on_vllm,) = plans(a_model(), a_deployment(), gguf=q8)
    assert on_vllm.reason == "GGUF left vLLM in 0.24: use --engine llamacpp"
    assert plans(a_model(), a_deployment(engine_version="0.23"), gguf=q8)[0].starts
    named = a_deployment(engine=Engine.LLAMACPP, quantization="Q8_0")
    assert plans(a_model(), named, gguf=q8)[0].quantization == "q8_0"
    assert plans(a_model(), named)[0].quantization == "q8_0"
    other = a_deployment(engine=Engine.LLAMACPP, quantization="q4_0")
    with pytest.raises(PlanInvalid, match="the file is q8_0: leave out --quantization q4_0"):
        plans(a_model(), other, gguf=q8)


@pytest.mark.parametrize("dtype", ["half", "fp16", "bf16", "float", "fp32", "auto"])
def test_a_dtype_goes_by_its_names(dtype: str) -> None:
    assert names(quantization="bf16", dtype=dtype) == ["bf16"]


def test_an_unknown_dtype_is_told() -> None:
    with pytest.raises(PlanInvalid, match='--dtype "fp4" is not known; auto, float16'):
        names(dtype="fp4")


def test_float32_weights_are_computed_in_float32() -> None:
    (made,) = plans(a_model(), a_deployment(quantization="fp32"))
    assert made.weights_gib == pytest.approx(2 * 14.99, abs=0.01)
    (same,) = plans(a_model(), a_deployment(quantization="fp32", dtype="float32"))
    assert same.weights_gib == made.weights_gib


def test_sources_say_where_weights_and_accuracy_are_from() -> None:
    (made,) = plans(a_model(), a_deployment(quantization="fp8"), Weighed(16 * 10**9, "files"))
    assert made.sources[0] == "files"
    assert made.sources[-1].startswith('accuracy: "Give Me BF16')
    (counted,) = plans(a_model(), a_deployment(quantization="bf16"))
    assert counted.sources[0] == "weights: counted from config.json"
    assert made.notes == [
        "8-bit arithmetic from capability 8.9; below only the weights are 8 bits wide"
    ]


def test_a_gpu_that_runs_nothing_of_an_engine_is_told() -> None:
    old = find_gpu("V100")
    assert old.capability == (7, 0)
    assert names(gpu="V100", engine=Engine.TGI) == ["bf16", "gptq", "bitsandbytes"]


def paths(config: Config, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in config.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += paths(value, (*path, key))
    return found


PLACES = [(name, path) for name, config in CONFIGS.items() for path in paths(config)]
PLACES += [("nemotron-h-8b", (key,)) for key in ("partial_rotary_factor", "layers_block_type")]
NONSENSE = ["x", -1, 0, 1.5, [], {}, True, [1], {"a": 1}, 10**9, "", [None], ["x"], float("inf")]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(NONSENSE), st.sampled_from(["H100", "MI300X"]))
def test_nonsense_in_a_config_is_planned_or_told_and_never_a_stack(
    place: tuple[str, tuple[str, ...]], value: Any, gpu: str
) -> None:
    name, (*path, key) = place
    config = copy.deepcopy(CONFIGS[name])
    inside = config
    for part in path:
        inside = inside[part]
    inside[key] = value
    with contextlib.suppress(PlanInvalid):
        plans(read_architecture(config), a_deployment(gpu))
