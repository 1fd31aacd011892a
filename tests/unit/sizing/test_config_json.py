from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.config_json import longest, read_architecture
from gateway.sizing.keys import Keys
from tests.support.models import CONFIGS, a_model


@pytest.mark.parametrize("name", CONFIGS)
def test_every_published_config_is_read(name: str) -> None:
    model = a_model(name)
    assert len(model.layers) > 20
    assert model.vocab > 30000


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ([], "must hold a mapping"),
        ({}, '"model_type" is missing'),
        ({"model_type": "lama"}, 'architecture "lama" is not known, did you mean llama?'),
        ({"model_type": "zzz"}, 'architecture "zzz" is not known; known: '),
        ({"model_type": "llama"}, '"hidden_size" is missing'),
        ({**CONFIGS["llama-3.1-8b"], "hidden_size": "big"}, '"hidden_size" must be'),
        ({**CONFIGS["llama-3.1-8b"], "num_key_value_heads": 5}, "5 KV heads do not divide 32"),
        ({**CONFIGS["llama-3.1-8b"], "quantization_config": 4}, "must be a mapping"),
        ({**CONFIGS["llama-3.1-8b"], "num_hidden_layers": 5000}, "is over 4096"),
    ],
)
def test_a_config_that_makes_no_model_is_told(config: object, problem: str) -> None:
    with pytest.raises(PlanInvalid) as told:
        read_architecture(config)
    assert problem in told.value.public


def test_the_language_model_is_found_inside_one_that_sees() -> None:
    model = a_model("gemma-3-27b")
    assert (model.model_type, model.hidden, model.is_tied) == ("gemma3_text", 5376, True)
    inside = {"model_type": "x", "thinker_config": {"text_config": CONFIGS["qwen3-8b"]}}
    assert read_architecture(inside).model_type == "qwen3"


def test_a_type_that_only_the_whole_names_is_used() -> None:
    text = {**CONFIGS["llama-3.1-8b"], "model_type": "unheard"}
    assert read_architecture({"model_type": "llama", "text_config": text}).model_type == "llama"


def test_the_precision_is_found_under_either_name() -> None:
    assert a_model(torch_dtype="torch.float16").dtype == "float16"
    config = {k: v for k, v in CONFIGS["llama-3.1-8b"].items() if k != "torch_dtype"}
    assert read_architecture({**config, "dtype": "float32"}).dtype == "float32"
    assert read_architecture(config).dtype == "bfloat16"


def test_a_quantization_is_found_inside_the_text_part_or_under_its_old_name() -> None:
    awq = {"quant_method": "awq"}
    inside = {"model_type": "x", "text_config": {**CONFIGS["qwen3-8b"], "quantization_config": awq}}
    assert read_architecture(inside).quantization == awq
    assert a_model(compression_config=awq).quantization == awq


@pytest.mark.parametrize(
    ("scaling", "length"),
    [
        (None, 4096),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 512}, 4096),
        ({"type": "linear", "factor": 2.0}, 8192),
        ({"type": "yarn", "factor": 4.0}, 16384),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}, 16384),
        # positions that hold the longer length already
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, 4096),
        ({"type": "longrope"}, 4096),
    ],
)
def test_the_length_counts_what_scaling_adds(scaling: dict[str, Any] | None, length: int) -> None:
    keys = Keys({"max_position_embeddings": 4096, "rope_scaling": scaling}, {})
    assert longest(keys) == length


def test_a_model_without_positions_has_no_limit_and_no_rotations() -> None:
    model = a_model("mamba-2.8b")
    assert (model.longest, model.rope_elements) == (None, 0)


def test_rotations_are_kept_for_every_position() -> None:
    assert a_model().rope_elements == 131072 * 128
    assert a_model("deepseek-v3").rope_elements == 163840 * 64
    assert a_model("gemma-3-4b").rope_elements == 131072 * 256 * 2
    assert a_model("phi-2", partial_rotary_factor=0.4).rope_elements == 2048 * 32


def test_learned_positions_and_embeddings_of_layers_are_weights() -> None:
    gpt2 = {
        "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257,
        "n_positions": 1024,
    }  # fmt: skip
    assert read_architecture(gpt2).other_elements == 1024 * 768
    gemma = {
        "model_type": "gemma3n_text", "hidden_size": 2048, "num_hidden_layers": 35,
        "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": [16384] * 35,
    }  # fmt: skip
    assert read_architecture(gemma).other_elements == 256 * 35 * (262144 + 2048)
