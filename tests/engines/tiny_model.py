"""Write the tiny Llama to disk: a Hugging Face folder for vLLM, a GGUF file for llama.cpp.

Both hold the same tokenizer, chat template and weights. No library is needed, so any Python
runs it: `python -m tests.engines.tiny_model FOLDER` makes `FOLDER/tiny-hf/` and
`FOLDER/tiny.gguf`.

Source: the safetensors format (length, JSON header, raw tensors) and ggml's docs/gguf.md.
"""

import itertools
import json
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.tiny_llama import (
    CHAT_TEMPLATE,
    CONTEXT,
    END,
    HEAD_SIZE,
    HEADS,
    HIDDEN,
    INTERMEDIATE,
    KV_HEADS,
    LAYERS,
    NORM_EPSILON,
    ROPE_THETA,
    SPECIAL,
    VOCABULARY_SIZE,
    Matrix,
    TinyLlama,
    Tokenizer,
    build,
)

HUGGING_FACE_NAME, GGUF_NAME = "tiny-hf", "tiny.gguf"
PAD_ID, BEGIN_ID, END_ID = (SPECIAL.index(token) for token in ("<|pad|>", "<|begin|>", END))

GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY = 4, 5, 6, 7, 8, 9
GGUF_ALIGNMENT = 32
GGUF_TENSOR_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
} | {
    f"model.layers.{layer}.{theirs}.weight": f"blk.{layer}.{ours}.weight"
    for layer in range(LAYERS)
    for theirs, ours in {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }.items()
}


def write_hugging_face(model: TinyLlama, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    documents = {
        "config.json": _config(),
        "generation_config.json": {"bos_token_id": BEGIN_ID, "eos_token_id": END_ID},
        "tokenizer.json": _tokenizer(model.tokenizer),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin|>",
            "eos_token": END,
            "pad_token": "<|pad|>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONTEXT,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, ensure_ascii=False, indent=1))
    (folder / "model.safetensors").write_bytes(safetensors(model.weights))


def _config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": BEGIN_ID,
        "eos_token_id": END_ID,
        "pad_token_id": PAD_ID,
        "dtype": "float32",
    }


def _tokenizer(tokenizer: Tokenizer) -> dict[str, object]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": SPECIAL.index(token),
                "content": token,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for token in SPECIAL
        ],
        "pre_tokenizer": byte_level | {"trim_offsets": False},
        "decoder": byte_level | {"trim_offsets": False},
        "model": {
            "type": "BPE",
            "vocab": {token: place for place, token in enumerate(tokenizer.tokens)},
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def _floats(matrix: Matrix) -> bytes:
    numbers = array("f", itertools.chain.from_iterable(matrix))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _shape(name: str, matrix: Matrix) -> list[int]:
    """Norms are vectors; everything else is rows by columns."""
    return [len(matrix[0])] if "norm" in name else [len(matrix), len(matrix[0])]


def safetensors(weights: Mapping[str, Matrix]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = bytearray()
    for name, matrix in weights.items():
        start = len(body)
        body += _floats(matrix)
        header[name] = {
            "dtype": "F32",
            "shape": _shape(name, matrix),
            "data_offsets": [start, len(body)],
        }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def write_gguf(model: TinyLlama, path: Path) -> None:
    metadata = _gguf_metadata(model.tokenizer)
    infos, data = bytearray(), bytearray()
    for name, matrix in model.weights.items():
        data += bytes(-len(data) % GGUF_ALIGNMENT)
        shape = _shape(name, matrix)[::-1]
        infos += _gguf_string(GGUF_TENSOR_NAMES[name])
        infos += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        data += _floats(_as_ggml_rotates(name, matrix))
    header = b"GGUF" + struct.pack("<IQQ", 3, len(model.weights), len(metadata))
    head = header + b"".join(metadata) + infos
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + bytes(-len(head) % GGUF_ALIGNMENT) + data)


def _as_ggml_rotates(name: str, matrix: Matrix) -> Matrix:
    """Rotary pairs are halves of a head for Hugging Face, neighbours for ggml's llama."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return matrix
    half = HEAD_SIZE // 2
    return [
        matrix[head + pair + side * half]
        for head in range(0, len(matrix), HEAD_SIZE)
        for pair in range(half)
        for side in (0, 1)
    ]


def _gguf_metadata(tokenizer: Tokenizer) -> list[bytes]:
    numbers = {
        "llama.block_count": LAYERS,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": INTERMEDIATE,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.dimension_count": HEAD_SIZE,
        "llama.vocab_size": VOCABULARY_SIZE,
        "general.file_type": 0,
        "tokenizer.ggml.bos_token_id": BEGIN_ID,
        "tokenizer.ggml.eos_token_id": END_ID,
        "tokenizer.ggml.padding_token_id": PAD_ID,
    }
    texts = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }
    fractions = {
        "llama.attention.layer_norm_rms_epsilon": NORM_EPSILON,
        "llama.rope.freq_base": ROPE_THETA,
    }
    kinds = [3 if token in SPECIAL else 1 for token in tokenizer.tokens]  # control, normal
    merges = [" ".join(pair) for pair in tokenizer.merges]
    return [
        *(_gguf_entry(key, GGUF_STRING, _gguf_string(text)) for key, text in texts.items()),
        *(_gguf_entry(key, GGUF_U32, struct.pack("<I", n)) for key, n in numbers.items()),
        *(_gguf_entry(key, GGUF_F32, struct.pack("<f", n)) for key, n in fractions.items()),
        _gguf_entry("tokenizer.ggml.add_bos_token", GGUF_BOOL, b"\0"),
        _gguf_strings("tokenizer.ggml.tokens", tokenizer.tokens),
        _gguf_strings("tokenizer.ggml.merges", merges),
        _gguf_entry(
            "tokenizer.ggml.token_type",
            GGUF_ARRAY,
            struct.pack(f"<IQ{len(kinds)}i", GGUF_I32, len(kinds), *kinds),
        ),
    ]


def _gguf_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _gguf_entry(key: str, kind: int, value: bytes) -> bytes:
    return _gguf_string(key) + struct.pack("<I", kind) + value


def _gguf_strings(key: str, texts: Sequence[str]) -> bytes:
    value = struct.pack("<IQ", GGUF_STRING, len(texts)) + b"".join(map(_gguf_string, texts))
    return _gguf_entry(key, GGUF_ARRAY, value)


def write_models(folder: Path) -> None:
    model = build()
    write_hugging_face(model, folder / HUGGING_FACE_NAME)
    write_gguf(model, folder / GGUF_NAME)


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
