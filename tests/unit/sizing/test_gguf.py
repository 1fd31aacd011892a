import struct
from typing import Any

import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.config_json import read_architecture
from gateway.sizing.gguf import read_gguf
from tests.support.gguf import LLAMA, a_gguf


def test_metadata_and_tensors_make_a_model() -> None:
    found = read_gguf(memoryview(a_gguf()))
    model = read_architecture(found.config)
    assert (model.model_type, model.hidden, len(model.layers)) == ("llama", 64, 2)
    assert (model.vocab, model.longest, model.is_tied) == (3, 2048, False)
    assert found.type_name == "q8_0"
    assert found.size_bytes == int(64 * 3 * 8.5 / 8) + 64 * 3 * 4


def test_a_model_without_an_output_is_tied() -> None:
    assert read_gguf(memoryview(a_gguf(tensors=[("token_embd.weight", (64, 3), 8)]))).config[
        "tie_word_embeddings"
    ]


def test_a_size_of_vocabulary_that_is_stated_is_used() -> None:
    told = {**LLAMA, "llama.vocab_size": 512}
    assert read_gguf(memoryview(a_gguf(told))).config["vocab_size"] == 512


def test_latent_attention_is_read_from_its_ranks() -> None:
    told = {
        "general.architecture": "deepseek2", "general.file_type": 7,
        "deepseek2.attention.head_count": 16, "deepseek2.attention.head_count_kv": 1,
        "deepseek2.attention.key_length": 576, "deepseek2.attention.kv_lora_rank": 512,
    }  # fmt: skip
    config = read_gguf(memoryview(a_gguf(told))).config
    assert config["num_key_value_heads"] == 16
    assert "head_dim" not in config


def test_every_type_of_value_is_read() -> None:
    told = {**LLAMA, "a": 1.5, "b": True, "c": ["x", "y"]}
    assert read_gguf(memoryview(a_gguf(told))).type_name == "q8_0"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "ends too early"),
        (b"GGML" + bytes(64), "not a GGUF file"),
        (b"GGUF" + struct.pack("<I", 9) + bytes(64), "of a version that is not known"),
        (a_gguf()[:100], "ends too early"),
        (a_gguf({**LLAMA, "general.architecture": "zzz"}), '"zzz" is not known; known: llama'),
        (a_gguf({"a": 1}), 'architecture "None" is not known'),
        (a_gguf({**LLAMA, "general.file_type": 999}), "file type 999 is not known"),
        (a_gguf(tensors=[("x", (1,), 999)]), '"x" is of a type that is not known: 999'),
    ],
)
def test_what_is_no_model_is_told(content: bytes, problem: str) -> None:
    with pytest.raises(PlanInvalid, match=problem):
        read_gguf(memoryview(content))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (struct.pack("<I", 77), "a value of the unknown type 77"),
        (struct.pack("<IIQ", 9, 9, 1), "a list that cannot be read"),
        (struct.pack("<IIQ", 9, 4, 1 << 40), "a list that cannot be read"),
    ],
)
def test_values_that_cannot_be_read_are_told(value: bytes, problem: str) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k"
    with pytest.raises(PlanInvalid, match=problem):
        read_gguf(memoryview(head + value))


def test_metadata_is_a_mapping_of_any_value() -> None:
    told: dict[str, Any] = {**LLAMA}
    assert "llama.block_count" in told
