"""The metadata of a GGUF file: which model it is, in which type, and its tensors' exact bytes.

Source: the GGUF specification in the ggml repository; llama.cpp's `gguf` package (type sizes).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import PlanInvalid

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_MOST = 100_000_000

# bits of one weight of each tensor type
_TENSOR_BITS: Mapping[int, float] = {
    0: 32, 1: 16, 2: 4.5, 3: 5, 6: 5.5, 7: 6, 8: 8.5, 9: 9, 10: 2.625, 11: 3.4375, 12: 4.5,
    13: 5.5, 14: 6.5625, 15: 9.125, 16: 2.0625, 17: 2.3125, 18: 3.0625, 19: 1.5625, 20: 4.5,
    21: 3.4375, 22: 2.5625, 23: 4.25, 24: 8, 25: 16, 26: 32, 27: 64, 28: 64, 29: 1.75, 30: 16,
    34: 1.6875, 35: 2.0625, 39: 4.25, 40: 4.5,
}  # fmt: skip

_FILE_TYPES: Mapping[int, str] = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k",
    11: "q3_k_s", 12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s",
    17: "q5_k_m", 18: "q6_k", 19: "iq2_xxs", 20: "iq2_xs", 21: "q2_k_s", 22: "iq3_xs",
    23: "iq3_xxs", 24: "iq1_s", 25: "iq4_nl", 26: "iq3_s", 27: "iq3_m", 28: "iq2_s", 29: "iq2_m",
    30: "iq4_xs", 31: "iq1_m", 32: "bf16", 36: "tq1_0", 37: "tq2_0", 38: "mxfp4_moe",
}  # fmt: skip

# llama.cpp's architectures in the words of config.json
_MODEL_TYPES: Mapping[str, str] = {
    "llama": "llama", "qwen2": "qwen2", "qwen2moe": "qwen2_moe", "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe", "gemma": "gemma", "gemma2": "gemma2", "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text", "phi2": "phi", "phi3": "phi3", "phimoe": "phimoe",
    "gpt-oss": "gpt_oss", "deepseek2": "deepseek_v2", "granite": "granite",
    "granitemoe": "granitemoe", "command-r": "cohere", "cohere2": "cohere2", "falcon": "falcon",
    "starcoder2": "starcoder2", "gptneox": "gpt_neox", "gpt2": "gpt2", "olmo2": "olmo2",
    "olmoe": "olmoe", "internlm2": "internlm2", "stablelm": "stablelm", "glm4": "glm4",
    "glm4moe": "glm4_moe", "exaone": "exaone", "smollm3": "smollm3", "seed_oss": "seed_oss",
    "mistral3": "llama", "minicpm": "minicpm", "nemotron": "nemotron", "arcee": "arcee",
    "ernie4_5": "ernie4_5", "hunyuan-dense": "hunyuan_v1_dense", "baichuan": "baichuan",
}  # fmt: skip

# config.json's key: GGUF's, after the architecture's name
_KEYS: Mapping[str, str] = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "v_head_dim": "attention.value_length",
    "max_position_embeddings": "context_length",
    "num_local_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "sliding_window": "attention.sliding_window",
    "vocab_size": "vocab_size",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "first_k_dense_replace": "leading_dense_block_count",
    "n_shared_experts": "expert_shared_count",
}


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A model as config.json would tell it, its type's name, and its tensors' bytes."""

    config: dict[str, Any]
    type_name: str
    size_bytes: int


class _Reader:
    """Values one after the other."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._at = 0

    def take(self, count: int) -> bytes:
        if not 0 <= count <= _MOST or self._at + count > len(self._content):
            raise PlanInvalid("the GGUF file ends too early")
        self._at += count
        return bytes(self._content[self._at - count : self._at])

    def number(self, form: str = "Q") -> Any:  # noqa: ANN401  # of any numeric type
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self) -> str:
        return self.take(self.number()).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:  # noqa: ANN401  # of any type
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            inner, count = self.number("I"), self.number()
            if count > _MOST or inner == _ARRAY:
                raise PlanInvalid("the GGUF file has a list that cannot be read")
            return [self.value(inner) for _ in range(count)]
        if kind not in _SCALARS:
            raise PlanInvalid(f"the GGUF file has a value of the unknown type {kind}")
        return self.number(_SCALARS[kind])


def read_gguf(content: memoryview) -> GgufFile:
    """Raises PlanInvalid."""
    reader = _Reader(content)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise PlanInvalid("not a GGUF file")
    if reader.number("I") not in (2, 3):
        raise PlanInvalid("the GGUF file is of a version that is not known; 2 and 3 are")
    tensors, count = reader.number(), reader.number()
    told = {}
    for _ in range(count):
        name = reader.text()
        told[name] = reader.value(reader.number("I"))
    size, names = 0.0, set()
    for _ in range(tensors):
        name = reader.text()
        elements = 1
        for _ in range(reader.number("I")):
            elements *= reader.number()
        kind = reader.number("I")
        reader.number()
        if kind not in _TENSOR_BITS:
            raise PlanInvalid(f'the tensor "{name}" is of a type that is not known: {kind}')
        size += elements * _TENSOR_BITS[kind] / 8
        names.add(name)
    config = _config(told, is_tied="output.weight" not in names)
    file_type = told.get("general.file_type", 1)
    type_name = _FILE_TYPES.get(file_type)
    if type_name is None:
        raise PlanInvalid(f"the GGUF file type {file_type} is not known")
    return GgufFile(config, type_name, int(size))


def _config(told: Mapping[str, Any], *, is_tied: bool) -> dict[str, Any]:
    kind = told.get("general.architecture")
    if not isinstance(kind, str) or kind not in _MODEL_TYPES:
        raise PlanInvalid(
            f'the GGUF architecture "{kind}" is not known; known: {", ".join(_MODEL_TYPES)}'
        )
    config: dict[str, Any] = {"model_type": _MODEL_TYPES[kind], "tie_word_embeddings": is_tied}
    for key, name in _KEYS.items():
        found = told.get(f"{kind}.{name}")
        if found is not None:
            config[key] = found
    if config["model_type"] == "deepseek_v2":
        config.pop("head_dim", None)
        config.pop("v_head_dim", None)
        config["num_key_value_heads"] = config.get("num_attention_heads")
    if "vocab_size" not in config:
        config["vocab_size"] = len(told.get("tokenizer.ggml.tokens", ())) or None
    return config
