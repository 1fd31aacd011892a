from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.checkpoint import cache_is_eight_bits, own_quantization
from gateway.sizing.parts import Part
from gateway.sizing.quantization import Quantization
from tests.support.models import a_model


def own(name: str = "llama-3.1-8b", **config: Any) -> Quantization:
    found = own_quantization(a_model(name, quantization_config=config))
    assert found is not None
    return found


def compressed(
    name: str = "llama-3.1-8b", *, ignore: Any = ("lm_head",), **weights: Any
) -> Quantization:
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return own(name, quant_method="compressed-tensors", config_groups=groups, ignore=list(ignore))


def test_a_checkpoint_that_says_nothing_is_not_quantized() -> None:
    assert own_quantization(a_model()) is None


@pytest.mark.parametrize(
    ("config", "name", "bits", "group"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 4 + 20 / 128, 128),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "awq", 4 + 20 / 64, 64),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "gptq", 8, 0),
        ({"quant_method": "gptq", "bits": "?", "group_size": "?"}, "gptq", 4 + 20 / 128, 128),
        ({"quant_method": "auto-round", "bits": 2, "group_size": 32}, "gptq", 2 + 20 / 32, 32),
        ({"quant_method": "fp8"}, "fp8", 8, 0),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8 + 32 / 128**2, 128),
        ({"quant_method": "fbgemm_fp8"}, "fp8", 8, 0),
        ({"quant_method": "mxfp4"}, "mxfp4", 4.25, 0),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", 4.5, 0),
        ({"quant_method": "bitsandbytes", "load_in_4bit": False}, "bitsandbytes", 8, 0),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, "nvfp4", 4.5, 16),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8", 8, 0),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, "awq", 4.125, 128),
        ({"quant_method": "modelopt", "quantization": {"quant_algo": "NVFP4"}}, "nvfp4", 4.5, 16),
        ({"quant_method": "torchao"}, "int8", 8, 0),
    ],
)
def test_each_method_is_as_wide_as_it_says(
    config: dict[str, Any], name: str, bits: float, group: int
) -> None:
    found = own(**config)
    assert (found.name, found.bits, found.group) == (name, bits, group)
    assert not found.is_online


@pytest.mark.parametrize(
    ("weights", "name", "bits"),
    [
        ({"num_bits": 8, "type": "float", "strategy": "channel"}, "fp8", 8),
        ({"num_bits": 8, "type": "float", "block_structure": [128, 128]}, "fp8", 8 + 32 / 128**2),
        ({"num_bits": 8, "type": "int", "strategy": "channel"}, "int8", 8),
        ({"num_bits": 8, "type": "int", "group_size": 128}, "int8", 8.125),
        ({"num_bits": 4, "type": "int", "group_size": 128, "symmetric": True}, "w4a16", 4.125),
        ({"num_bits": 4, "type": "int", "group_size": 128, "symmetric": False}, "w4a16", 4.15625),
        ({"num_bits": 4, "type": "int", "strategy": "channel"}, "w4a16", 4),
        ({"num_bits": 4, "type": "float", "group_size": 16}, "nvfp4", 4.5),
        ({"num_bits": 4, "type": "float", "group_size": 32}, "mxfp4", 4.25),
    ],
)
def test_compressed_tensors_describe_their_weights(
    weights: dict[str, Any], name: str, bits: float
) -> None:
    found = compressed(**weights)
    assert (found.name, found.bits) == (name, bits)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"bits": 4}, 'names no "quant_method"'),
        ({"quant_method": "aqlm"}, 'quantized with "aqlm", which the engines cannot load'),
        ({"quant_method": "compressed-tensors"}, "describes no weights"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {}}},
            "describes no weights",
        ),
    ],
)
def test_what_nobody_can_load_is_told(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(PlanInvalid, match=problem):
        own(**config)


def test_layers_that_are_left_alone_stay_sixteen_bits_wide() -> None:
    ignored = compressed(num_bits=8, type="float", ignore=["lm_head", "re:.*self_attn.*"])
    assert ignored.overrides == {Part.ATTENTION: 16}
    half = own(
        quant_method="awq", modules_to_not_convert=[f"model.layers.{i}.mlp" for i in range(16)]
    )
    assert half.overrides == {Part.MLP: (16 + 4 + 20 / 128) / 2}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("re:.*self_attn", True),
        ("re:(", False),
        ("self_attn", True),
        ("attn", False),
        ("model.layers.*.self_attn", True),
        ("language_model.model.layers.0.self_attn.q_proj", True),
    ],
)
def test_patterns_are_those_of_the_formats(pattern: str, matches: bool) -> None:
    found = own(quant_method="gptq", bits=4, group_size=128, modules_to_not_convert=pattern)
    assert (Part.ATTENTION in found.overrides) == matches


def test_ignored_modules_of_every_kind_of_layer_are_known() -> None:
    hybrid = compressed("qwen3-next-80b", num_bits=8, type="float", ignore=["re:.*linear_attn.*"])
    assert hybrid.overrides == {Part.STATE: 16}
    mixture = compressed("deepseek-v3", num_bits=8, type="float", ignore=["re:.*shared_experts.*"])
    assert list(mixture.overrides) == [Part.MLP]
    sparse = compressed("mixtral-8x7b", num_bits=8, type="float", ignore=["re:.*experts.*"])
    assert sparse.overrides == {Part.EXPERTS: 16}
    states = compressed("nemotron-h-8b", num_bits=8, type="float", ignore=["lm_head"])
    assert states.overrides == {}


def test_a_quantized_output_is_counted() -> None:
    assert Part.HEAD in own(quant_method="gptq", bits=4, lm_head=True).parts
    assert Part.HEAD not in own(quant_method="gptq", bits=4).parts


def test_a_tied_output_is_no_module() -> None:
    tied = own("gemma-2-9b", quant_method="gptq", lm_head=True, ignore=["lm_head"])
    assert tied.overrides == {}


def test_an_ignore_list_of_another_shape_ignores_nothing() -> None:
    assert own(quant_method="fp8", ignore={"a": 1}).overrides == {}


@pytest.mark.parametrize(
    ("config", "is_eight"),
    [
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8}}, True),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": None}, False),
        ({"quant_method": "modelopt", "quantization": {"kv_cache_quant_algo": "FP8"}}, True),
        ({}, False),
    ],
)
def test_a_checkpoint_may_ask_for_an_eight_bit_cache(
    config: dict[str, Any], is_eight: bool
) -> None:
    assert cache_is_eight_bits(a_model(quantization_config=config)) == is_eight
